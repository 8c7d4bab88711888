import diamond.collector


class UnameCollector(diamond.collector.ProcessCollector):
    """Runs a program."""

    def get_default_config(self):
        config = super(UnameCollector, self).get_default_config()
        config.update({'bin': self.find_binary('/opt/nowhere/echo'), 'use_sudo': False, 'path': 'uname'})
        return config

    def collect(self):
        out = self.run_command(['load', '4', 'users', '7'])[0]
        words = out.split()
        for name, value in zip(words[::2], words[1::2]):
            self.publish(name, value)
