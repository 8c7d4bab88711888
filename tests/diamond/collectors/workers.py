import threading
try:
    from Queue import Queue
except ImportError:
    from queue import Queue

import diamond.collector


class WorkersCollector(diamond.collector.Collector):
    """Asks its targets side by side, and remembers in the class what it found."""

    cache = {}
    lock = threading.Lock()

    def get_default_config(self):
        config = super(WorkersCollector, self).get_default_config()
        config.update({'path': 'workers', 'targets': ['a']})
        return config

    def ask(self, jobs):
        while not jobs.empty():
            target = jobs.get()
            with self.lock:
                self.cache[target] = self.cache.get(target, 0) + 1
            self.publish('target.%s.asked' % target, self.cache[target])

    def collect(self):
        jobs = Queue()
        for target in self.config['targets']:
            jobs.put(target)
        threads = [threading.Thread(target=self.ask, args=(jobs,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
