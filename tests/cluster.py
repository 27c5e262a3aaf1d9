"A real SLURM of two nodes, both of them this machine, with all its state in one folder: for the tests of slurm/"
import getpass, os, shutil, signal, socket, subprocess, time
from pathlib import Path

from book import ROOT

os.environ['PATH'] += os.pathsep + '/usr/sbin'       # where Debian puts daemons, and not every user looks
NEEDED = 'munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'setpriv'
NODES = '127.0.0.1', '127.0.0.2'      # names that lead to this machine, as those of a cluster's nodes lead to them
CONF = '''
ClusterName=jingles
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
KillWait=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/slurmd-%n
StateSaveLocation={folder}/slurmctld
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
NodeName={nodes[0]} Port={ports[1]} CPUs=64 State=UNKNOWN
NodeName={nodes[1]} Port={ports[2]} CPUs=64 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
'''


def missing():
    "Why there can be no cluster here, or None"
    gone = [name for name in NEEDED if not shutil.which(name)]
    if gone: return f'no {gone[0]}; `make system` installs slurm-wlm, slurm-client and munge where that is allowed'
    return None if os.getuid() == 0 else 'slurmd wants to be root'


def free_ports(count):
    "Ports that nothing listens on"
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets: s.bind(('127.0.0.1', 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets: s.close()
    return ports


def until(true, seconds, what):
    "Wait until `true()` is; what it gave"
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f'{what() if callable(what) else what}: not within {seconds} s'
        time.sleep(0.1)
    return found


class Cluster:
    "With it: daemons run. Outside: they, and whatever their jobs left, are gone"
    def __init__(self, folder): self.folder, self.daemons = Path(folder), []

    def __enter__(self):
        f = self.folder
        for name in ('slurmctld', *(f'slurmd-{n}' for n in NODES)): (f/name).mkdir(parents=True)
        (f/'munge.key').write_bytes(os.urandom(128)); (f/'munge.key').chmod(0o600)
        (f/'slurm.conf').write_text(CONF.format(ports=free_ports(3), nodes=NODES, folder=f, user=getpass.getuser()))
        outer = {k: v for k, v in os.environ.items() if not k.startswith(('SLURM', 'SBATCH', 'RANK', 'WORLD_SIZE', 'LOCAL_', 'MASTER_'))}
        self.env = outer | dict(SLURM_CONF=str(f/'slurm.conf'))
        try:
            self.start('munged', '--foreground', '--force', *(f'--{k}={f}/munge.{v}' for k, v in dict(socket='sock', pid='pid').items()),
                       f'--key-file={f}/munge.key', f'--pid-file={f}/munge.pid', f'--seed-file={f}/munge.seed', f'--log-file={f}/munge.log')
            until((f/'munge.sock').exists, 20, self.why)
            self.start('slurmctld', '-D')
            for name in NODES: self.start('slurmd', '-D', '-N', name)
            until(lambda: self.ask('sinfo', '-h', '-o', '%T %D', ok=False) == 'idle 2', 30, self.why)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, *command):
        with open(self.folder/f'{command[0]}.out', 'a') as out:
            self.daemons.append(subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *command], env=self.env, stdout=out, stderr=out, start_new_session=True))

    def __exit__(self, *_):
        if len(self.daemons) == 4: self.ask('scancel', '--user', getpass.getuser(), '--full', '--signal=KILL', ok=False)
        for d in reversed(self.daemons): d.terminate()
        for d in self.daemons:
            try: d.wait(10)
            except subprocess.TimeoutExpired: d.kill(); d.wait()
        for pid in self.left(): os.kill(pid, signal.SIGKILL)
        until(lambda: not self.left(), 10, 'processes of the cluster do not end')

    def left(self):
        "Processes that were started within this cluster: its configuration is in their environment"
        mark, found = f'SLURM_CONF={self.folder}/slurm.conf'.encode(), []
        for p in Path('/proc').glob('[0-9]*'):
            try:
                if mark in (p/'environ').read_bytes().split(b'\0'): found.append(int(p.name))
            except OSError: pass
        return found

    def why(self):
        "The end of each log"
        return '\n'.join(f'{p.name}: {p.read_text()[-1500:]}' for p in self.folder.glob('*.[lo][ou][gt]'))

    def ask(self, *command, ok=True, seconds=20, env={}):
        done = subprocess.run([str(c) for c in command], env=self.env | env, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
        assert not ok or done.returncode == 0, f'{command}: {done.stdout}{done.stderr}'
        return done.stdout.strip()

    def sbatch(self, script, *settings, env={}, **options):
        "Submit a script of slurm/; the job's number"
        options = dict(output=self.folder/'job-%A.txt', gpus_per_node=0) | options
        command = ['sbatch', '--parsable', *(f"--{k.replace('_', '-')}={v}" for k, v in options.items()), ROOT/'slurm'/script, *settings]
        return self.ask(*command, env=env)

    def jobs(self, number):
        "What SLURM knows of a job, or of each task of an array"
        lines = self.ask('scontrol', 'show', 'job', '--oneliner', number).splitlines()
        return [dict(word.split('=', 1) for word in line.split() if '=' in word) for line in lines]

    def said(self, number): return (self.folder/f'job-{number}.txt').read_text() if (self.folder/f'job-{number}.txt').exists() else ''

    def warn(self, number): self.ask('scancel', '--batch', '--signal=USR1', number)

    def ended(self, *numbers, seconds=120):
        "Wait until these jobs, and all tasks of arrays, are over; the states they ended in"
        def over():
            found = [job['JobState'] for n in numbers for job in self.jobs(n)]
            return not {'PENDING', 'RUNNING', 'COMPLETING', 'CONFIGURING', 'REQUEUED'} & set(found) and found
        return until(over, seconds, lambda: '\n'.join(map(self.said, numbers)))
