import diamond.collector


class GuestsCollector(diamond.collector.Collector):
    """Publishes for virtual machines; takes its arguments as they come."""

    def __init__(self, *args, **kwargs):
        super(GuestsCollector, self).__init__(*args, **kwargs)
        self.seen = 0

    def get_default_config(self):
        config = super(GuestsCollector, self).get_default_config()
        config.update({'path': 'guest', 'measure_collector_time': True})
        return config

    def collect(self):
        self.seen += 1
        self.publish('running', 2)
        for name, cpu in (('web', 11), ('db', 97)):
            self.publish('cpu', cpu, instance=name)
        self.log.info('%s saw its guests %d times', self.name, self.seen)
