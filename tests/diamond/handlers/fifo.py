# As third parties wrote them: Python 2 found Handler.py beside it.
import os

from Handler import Handler


class FifoHandler(Handler):
    """Appends lines to a file; blocks, dies or raises where a file beside it says so."""

    def __init__(self, config=None):
        Handler.__init__(self, config)
        self.path = self.config['path']
        self.refuse = self.config.get('refuse')
        if os.path.exists(self.path + '.nostart'):
            raise RuntimeError('no such host')

    def process(self, metric):
        if os.path.exists(self.path + '.block'):
            while True:
                pass
        if os.path.exists(self.path + '.die'):
            os._exit(3)
        if os.path.exists(self.path + '.away'):
            raise IOError('the other side is away')
        if self.refuse and self.refuse in metric.path:
            raise ValueError('not this one')
        with open(self.path, 'a') as out:
            out.write('%s|%s|%s|%s' % (metric.getCollectorPath(), metric.getMetricPath(), metric.metric_type, metric))
