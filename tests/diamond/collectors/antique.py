import diamond.collector
from diamond import convertor


class AntiqueCollector(diamond.collector.Collector):
    """From before Diamond 4: a constructor with two arguments, a unit for each figure."""

    def __init__(self, config, handlers):
        diamond.collector.Collector.__init__(self, config, handlers)

    def get_default_config(self):
        config = super(AntiqueCollector, self).get_default_config()
        config.update({'path': 'antique', 'byte_unit': 'byte kilobyte'})
        return config

    def collect(self):
        for unit in self.config['byte_unit']:
            self.publish('size_%s' % unit, convertor.binary.convert(value=3, oldUnit='megabyte', newUnit=unit))
