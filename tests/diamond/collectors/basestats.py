import diamond.collector


class BaseStatsCollector(diamond.collector.Collector):
    """A base class that other files of the folder import by its bare name."""

    STATS = {}

    def get_default_config(self):
        config = super(BaseStatsCollector, self).get_default_config()
        config.update({'path': 'base'})
        return config

    def collect(self):
        for key, value in sorted(self.STATS.items()):
            self.publish(key, value)
