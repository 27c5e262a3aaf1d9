"""A chapter is run once for all tests of a session: for the one that checks it, and for those that go on with the networks it trained

Whoever comes first runs it, in whichever process of pytest-xdist; the others wait for it and read what it left."""
import fcntl, json, os, re, subprocess
from pathlib import Path
from types import SimpleNamespace

import forked
from book import ROOT

TAKEN_FROM = ('30_toy.swissroll',)      # chapters whose networks tests go on with

def run_chapter(path):
    """Run the chapter `path`, unless it was: `returncode`, `stdout`, `stderr`, and of those in `TAKEN_FROM` the file `networks`;
    `processor_seconds` that it took, None where it did not get to its end"""
    folder = Path(forked.start_server())/'chapters'
    folder.mkdir(exist_ok=True)
    done, networks = folder/f'{path.stem}.json', folder/f'{path.stem}.pt'
    with open(folder/f'{path.stem}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'}        # pictures in the notebook
            if path.stem in TAKEN_FROM: env['KEEP_NETWORKS'] = str(networks)
            ran = subprocess.run(forked.command(ROOT/'tests'/'chapters.py', '--path', path, '--n_workers', 0), cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
            took = re.search(r'([\d.]+) processor seconds', ran.stdout)
            done.write_text(json.dumps(dict(returncode=ran.returncode, stdout=ran.stdout, stderr=ran.stderr, processor_seconds=took and float(took[1]))))
    return SimpleNamespace(**json.loads(done.read_text()), networks=networks)


def trained_networks(name):
    "`{variable: state}` of the networks that the chapter `name`, one of `TAKEN_FROM`, has trained"
    import torch
    ran = run_chapter(ROOT/'nbs'/f'{name}.ipynb')
    assert ran.networks.exists(), f'{name} did not run to its end\n{ran.stdout}\n{ran.stderr}'
    return torch.load(ran.networks, weights_only=True)
