import http.client  # the library, not this file
from basestats import BaseStatsCollector as parent_BaseStatsCollector


class HttpPortsCollector(parent_BaseStatsCollector):
    STATS = {'library.port': http.client.HTTP_PORT, 'tls.port': http.client.HTTPS_PORT}

    def get_default_config(self):
        config = super(HttpPortsCollector, self).get_default_config()
        config.update({'path': 'ports'})
        return config
