from graphite import GraphiteHandler


class TaggedGraphiteHandler(GraphiteHandler):
    """Graphite, with a word before each name."""

    def get_default_config(self):
        config = super(TaggedGraphiteHandler, self).get_default_config()
        config.update({'tag': 'old'})
        return config

    def process(self, metric):
        metric.path = '%s.%s' % (self.config['tag'], metric.path)
        super(TaggedGraphiteHandler, self).process(metric)
