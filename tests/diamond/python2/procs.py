# Python 2, as it was written for Diamond 3 and 4.
import os, re
import subprocess
from StringIO import StringIO
import diamond.collector

_RE = re.compile(r'^(?P<user>\w+)\s+(?P<rss>\d+)$')


class ProcsCollector(diamond.collector.Collector):

    def get_default_config(self):
        config = super(ProcsCollector, self).get_default_config()
        config.update({'path': 'procs', 'cmd': 'printf root\\ 1536\\\\nwww\\ 700\\\\nroot\\ 512\\\\n'})
        return config

    def collect(self):
        p = subprocess.Popen(self.config['cmd'], shell=True, stdout=subprocess.PIPE)
        out = StringIO(p.communicate()[0])
        users = {}
        for line in out:
            match = _RE.match(line.strip())
            if not match:
                raise diamond.error.DiamondException, 'cannot read %s' % `line`
            users.setdefault(match.group('user'), []).append(int(match.group('rss')))
        for i in xrange(0, 1):
            for user, sizes in users.iteritems():
                self.publish(user + '.mb', sum(sizes) / 1024)
                self.publish(user + '.mode', 0644)
        total = reduce(lambda a, b: a + b, [sum(s) for s in users.values()])
        self.publish('total', total <> 0 and total or -1)
