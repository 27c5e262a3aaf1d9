"""A plugin of pytest: in continuous integration a skipped test is a failure where what it lacks could have been installed

Where the variable CI is set and this machine may install Debian packages, no test may be skipped for want of Chromium or SLURM: `.ci/system` should have seen to them."""
import os, shutil, subprocess

PIECES = ('Chromium', 'SLURM', 'slurm')


def may_install(env=os.environ):
    "Whether packages can be installed here: as root, or by sudo without a question"
    if not shutil.which('apt-get', path=env.get('PATH')): return False
    if os.getuid() == 0: return True
    sudo = shutil.which('sudo', path=env.get('PATH'))
    return bool(sudo) and subprocess.run([sudo, '-n', 'true'], capture_output=True).returncode == 0


def avoidable(reports):
    "`{test file: why}` of the skipped `reports` that name a piece which .ci/system installs"
    why = {r.nodeid.partition('::')[0]: r.longrepr[2] for r in reports if isinstance(r.longrepr, tuple)}
    return {path: reason for path, reason in why.items() if any(piece in reason for piece in PIECES)}


class Skips:
    def __init__(self): self.reports, self.found = [], {}

    def pytest_runtest_logreport(self, report):
        if report.skipped: self.reports.append(report)

    def pytest_collectreport(self, report):
        if report.skipped: self.reports.append(report)

    def pytest_sessionfinish(self, session):
        if os.environ.get('CI', '').lower() in ('', '0', 'false') or not may_install(): return
        self.found = avoidable(self.reports)
        if self.found: session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        for path, reason in self.found.items(): terminalreporter.write_line(f'FAILED {path} was skipped, though this machine may install what it needs: {reason}', red=True)


def pytest_configure(config):
    if not hasattr(config, 'workerinput'): config.pluginmanager.register(Skips(), 'skips-in-ci')      # xdist's workers send it their reports
