"""What every test shares: the servers' fixtures."""

pytest_plugins = ["tests.servers.plugin"]
