# coding=utf-8
# Python 2, as it was written for Diamond 3 and 4.
import socket

import diamond.collector


class McStatsCollector(diamond.collector.Collector):

    def get_default_config(self):
        config = super(McStatsCollector, self).get_default_config()
        config.update({
            'path':     'mc',
            'hosts':    ['localhost:11211'],
        })
        return config

    def get_raw_stats(self, host, port):
        data = ''
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.connect((host, int(port)))
            sock.send('stats\n')
            while True:
                received = sock.recv(4096)
                data += received
                if not received or 'END' in data:
                    break
            sock.close()
        except socket.error, e:
            self.log.exception('Failed to get stats from %s:%s: %s', host, port, e)
        return data

    def collect(self):
        hosts = self.config.get('hosts')
        if isinstance(hosts, basestring):
            hosts = [hosts]
        for host in hosts:
            hostname, port = host.split(':')
            stats = {}
            for line in self.get_raw_stats(hostname, port).splitlines():
                pieces = line.split(' ')
                if pieces[0] != 'STAT' or pieces[1] in ('pid', 'version'):
                    continue
                stats[pieces[1]] = long(pieces[2])
            for stat, value in stats.iteritems():
                self.publish('%s.%s' % (port, stat), value)
            if stats.has_key('get_hits'):
                self.publish('hit_percent', 100 * stats['get_hits'] / (stats['get_hits'] + stats['get_misses']))
