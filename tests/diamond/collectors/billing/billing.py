from diamond.collector import Collector
from diamond.metric import Metric


class BillingCollector(Collector):
    """Makes its metrics itself, under a prefix of its own, with the time at which they were true."""

    def collect(self):
        head = 'billing.%s' % (self.get_hostname() or 'nobody')
        self.publish_metric(Metric(head + '.euro', 12.5, timestamp=1700000000, precision=2, host=self.get_hostname(),
                                   metric_type='GAUGE'))
        self.publish_metric(Metric('billing.accounts', '41.5', timestamp=1700000000, precision=0))
        self.publish('hours', 7.25, precision=1, timestamp=1700003600)
        self.publish('now', 1)
