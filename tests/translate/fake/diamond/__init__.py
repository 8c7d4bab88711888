"""As much of Diamond as a collector needs to be run alone; in the words of both Pythons."""
