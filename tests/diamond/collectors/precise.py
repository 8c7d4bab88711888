import diamond.collector


class PreciseCollector(diamond.collector.Collector):
    """Text as numbers, precisions that change, names that should not be."""

    runs = 0

    def collect(self):
        self.runs += 1
        self.publish('as_text', '12.345', precision=2)
        self.publish('zero_first', 0)
        if self.runs > 1:
            self.publish('zero_first', 0.125, precision=3)
        self.publish('big', 2 ** 53)
        self.publish('odd name/with {braces}', 1)
        self.publish('hidden', 1)
