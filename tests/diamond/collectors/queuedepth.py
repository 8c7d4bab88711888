# coding=utf-8

"""
Depth of spool directories.

#### Configuration

 * spools: a section for each spool
"""

import os
import diamond.collector
from diamond.collector import str_to_bool


class QueueDepthCollector(diamond.collector.Collector):

    def process_config(self):
        super(QueueDepthCollector, self).process_config()
        self.config['hidden'] = str_to_bool(self.config['hidden'])
        self.spools = self.config['spools']
        if isinstance(self.config['suffixes'], str):
            self.config['suffixes'] = [self.config['suffixes']]

    def get_default_config_help(self):
        config_help = super(QueueDepthCollector, self).get_default_config_help()
        config_help.update({'spools': 'sections', 'hidden': 'count hidden files', 'suffixes': 'only these'})
        return config_help

    def get_default_config(self):
        config = super(QueueDepthCollector, self).get_default_config()
        config.update({
            'path': 'queue',
            'hidden': False,
            'suffixes': [],
            'spools': {},
        })
        return config

    def collect(self):
        for name in self.spools:
            spool = self.spools[name]
            names = os.listdir(spool['dir'])
            if not self.config['hidden']:
                names = [n for n in names if not n.startswith('.')]
            if self.config['suffixes']:
                names = [n for n in names if n.endswith(tuple(self.config['suffixes']))]
            self.publish(name + '.depth', len(names))
            self.publish_gauge('.'.join([name, 'share']), len(names) / float(spool['limit']), precision=3)
