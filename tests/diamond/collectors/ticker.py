import time

import diamond.collector


class TickerCollector(diamond.collector.Collector):
    """Counters in all their ways."""

    total = 0

    def get_default_config(self):
        config = super(TickerCollector, self).get_default_config()
        config.update({'path': 'ticker', 'step': 50})
        return config

    def collect(self):
        TickerCollector.total += int(self.config['step'])
        now = time.time()
        self.publish_counter('seconds', now, precision=1)
        self.publish_counter('steps.change', self.total, time_delta=False)
        self.publish('twice', 2 * self.derivative('seconds2', now), precision=1)
        # a service that starts anew in its third run
        self.publish_counter('reset', 10 ** 9 if self.total < 150 else self.total, precision=2,
                             max_value=diamond.collector.MAX_COUNTER)
