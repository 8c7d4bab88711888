# Python 2, as it was written for Diamond 3 and 4.
import urllib2
import json
from urlparse import urlparse
import diamond.collector
from diamond.collector import str_to_bool


class ApiStatusCollector(diamond.collector.Collector):

    def get_default_config(self):
        config = super(ApiStatusCollector, self).get_default_config()
        config.update({'path': 'api', 'url': 'http://localhost/', 'flat': 'yes'})
        return config

    def _flatten(self, prefix, tree):
        for key, value in sorted(tree.items(), lambda a, b: cmp(a[0], b[0])):
            name = prefix and '%s.%s' % (prefix, key) or key
            if isinstance(value, dict):
                for pair in self._flatten(name, value):
                    yield pair
            elif isinstance(value, (int, long, float)) and not isinstance(value, bool):
                yield name, value

    def collect(self):
        try:
            request = urllib2.Request(self.config['url'])
            request.add_header('User-Agent', 'diamond')
            body = urllib2.urlopen(request, timeout=2).read()
        except urllib2.URLError, error:
            self.log.error('cannot ask %s: %s', urlparse(self.config['url']).netloc, error)
            return
        if str_to_bool(self.config['flat']):
            map(lambda pair: self.publish(pair[0], pair[1], precision=1), self._flatten('', json.loads(body)))
        for pair in self._flatten('', json.loads(body)):
            print pair
            self.publish(pair[0], pair[1], precision=1)
