"""Pack all that a GPU machine without the internet needs into one folder of at most 64 MiB: python gpu/pack.py OUT --midi MIDI --have LIST

LIST names the Python packages that are there already, one a line (`pip list --format freeze` there); of the others, those that `run.sh check`, `bench` and `train` import
are fetched as wheels for its Python. FluidSynth's library is taken from this machine with what it loads, but for the C and C++ libraries. There, `bash OUT/run.sh train RESULTS`
unpacks it once and trains; README.md beside this file has the rest."""
import argparse, re, subprocess, sys, tarfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import soundfont

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 64*2**20
SOURCES = 'jingles', 'gpu', 'tests', 'settings.ini', 'pyproject.toml', 'setup.py', 'constraints.txt', 'LICENSE'
# what nothing imports on the way: TensorFlow, by far the largest, is replaced by NumPy where it is missing (chapter 7)
UNUSED = {'tensorflow', 'papermill', 'tensorboard', 'encodec', 'torch', 'jingles'}
CORE = re.compile('lib(c|m|pthread|dl|rt|stdc\\+\\+|gcc_s|gomp)[.-]|ld-linux')      # these must be the target's own
PLATFORMS = [f'manylinux_2_{n}_x86_64' for n in (17, 24, 27, 28, 31, 34)] + ['manylinux2014_x86_64', 'manylinux1_x86_64', 'linux_x86_64']

RUN = """#!/bin/bash
# bash run.sh check | bench RESULTS | train RESULTS [options of gpu/train.py]: what was packed is unpacked beside this file, once
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd); work=$here/unpacked; python=${PYTHON:-python3}
if [ ! -e "$work/ready" ]; then
    mkdir -p "$work/site"
    for part in "$here"/*.tar.gz; do tar xf "$part" -C "$work"; done
    known=$(/sbin/ldconfig -p 2>/dev/null || true)      # a library that is there already is better than the one from elsewhere
    for library in "$work"/libs/*; do case "$known" in *"$(basename "$library") "*) rm "$library" ;; esac; done
    if ls "$here"/wheels/*.whl >/dev/null 2>&1; then "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$work/site" "$here"/wheels/*.whl; fi
    [ ! -e "$here/font.zip" ] || PYTHONPATH="$work/site" "$python" "$work/gpu/soundfont.py" "$here/font.zip" "$work/font.sf2"
    printf '%s\\n' 'import ctypes.util, os' 'usual, library = ctypes.util.find_library, os.path.join(os.path.dirname(__file__), "../libs/libfluidsynth.so.3")' \\
        'ctypes.util.find_library = lambda name: library if name == "fluidsynth" and os.path.exists(library) else usual(name)' > "$work/site/sitecustomize.py"
    touch "$work/ready"
fi
export PYTHONPATH="$work:$work/site" LD_LIBRARY_PATH="$work/libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" OMP_WAIT_POLICY=PASSIVE MPLBACKEND=Agg
[ ! -e "$work/font.sf2" ] || export JINGLES_SOUNDFONT="$work/font.sf2"
what=${1:-}; shift || true
cd "$work"
case $what in
    check) OMP_NUM_THREADS=1 exec "$python" -m pytest -m cuda -n 8 -rA --durations=10 tests/test_gpu.py ;;
    bench) exec "$python" tests/bench --json "$1/bench.json" gpu ;;
    train) [ ! -d "$work/midi" ] || set -- "$@" --midi "$work/midi"; exec "$python" gpu/train.py "$@" ;;
    python) exec "$python" "$@" ;;
    *) echo "run.sh: check, bench RESULTS, or train RESULTS" >&2; exit 2 ;;
esac
"""


def required(have, roots=None):
    "Names of the packages that must be brought along: the requirements of jingles and of its training, and what those require, but for `have`"
    have, found = {canonicalize_name(n) for n in have} | UNUSED, set()
    def add(name, extras):
        for text in metadata.requires(name) or ():
            r = Requirement(text)
            wanted = not r.marker or any(r.marker.evaluate(dict(extra=e)) for e in extras or {''})
            name = canonicalize_name(r.name)
            if wanted and name not in have | found:
                found.add(name)
                add(name, r.extras)
    for name, extras in (roots or {'jingles': {'train'}}).items(): add(name, extras)
    return sorted(found)


def libraries(name='libfluidsynth.so.3'):
    "Paths of a shared library of this machine and of all that it loads, but for the core ones; FileNotFoundError"
    listed = subprocess.run(['/sbin/ldconfig', '-p'], capture_output=True, text=True, check=True).stdout
    path = re.search(rf'{re.escape(name)} .*=> (\S+)', listed)
    if not path: raise FileNotFoundError(f'no {name} here; apt-get install libfluidsynth3')
    loaded = subprocess.run(['ldd', path[1]], capture_output=True, text=True, check=True).stdout
    return [Path(path[1])] + [Path(p) for p in re.findall(r'=> (/\S+)', loaded) if not CORE.match(Path(p).name)]


def archive(target, members):
    "A .tar.gz of `{name: path}`, links followed"
    with tarfile.open(target, 'w:gz', dereference=True) as tar:
        for name, path in members.items(): tar.add(path, name, filter=lambda m: None if '__pycache__' in m.name else m)


def sources(weights=()):
    "`{name: path}` of the code, with the weights of the models `weights` and all that is small"
    found = {str(p.relative_to(ROOT)): p for top in SOURCES for p in ([ROOT/top] if (ROOT/top).is_file() else (ROOT/top).rglob('*')) if p.is_file()}
    return {n: p for n, p in found.items() if p.stat().st_size < 200_000 or p.suffix in ('.py', '.js') or p.parent.name in weights}


def pack(out, have, python, midi=None, font=None, programs=(), keys=(36, 96), weights=(), wheels=True):
    "Fill the folder `out`; its size in bytes. ValueError when that is too much"
    (out/'wheels').mkdir(parents=True)
    archive(out/'jingles.tar.gz', sources(weights))
    archive(out/'libs.tar.gz', {f'libs/{p.name}': p for p in libraries()})
    if midi: archive(out/'midi.tar.gz', {'midi': midi})
    if font:
        soundfont.cut(font, out/'font.sf2', set(programs), keys)
        soundfont.squeeze(out/'font.sf2', out/'font.zip')
        (out/'font.sf2').unlink()
    names = required(have) if wheels else []
    pins = dict(line.split('==') for line in (ROOT/'constraints.txt').read_text().splitlines() if '==' in line and not line.startswith('#'))
    if names: subprocess.run([sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary=:all:', '--python-version', python, '--implementation', 'cp',
                              *(w for p in PLATFORMS for w in ('--platform', p)), '-d', str(out/'wheels'), *(f'{n}=={pins[n]}' if n in pins else n for n in names)], check=True)
    (out/'run.sh').write_text(RUN)
    size = sum(f.stat().st_size for f in out.rglob('*') if f.is_file())
    if size > LIMIT: raise ValueError(f'{out} has {size/2**20:.0f} MiB, more than 64: name fewer --programs, or fewer --weights')
    return size


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('out', type=Path, help='a new folder')
    args.add_argument('--midi', type=Path, help='folder of MIDI files to train on; without, melodies are invented')
    args.add_argument('--have', type=Path, help='file with the names of the Python packages that are there')
    args.add_argument('--python', default='3.12', help='the version of Python there')
    args.add_argument('--programs', default='', help='General MIDI programs of the SoundFont, by commas; without, none is packed')
    args.add_argument('--weights', default='', help='shipped weights that are packed, by commas: run.sh check needs notes,spectral, and train none')
    args = args.parse_args()
    def listed(text): return [t for t in text.split(',') if t]
    have = [re.split('[=@ ]', line)[0] for line in args.have.read_text().split('\n') if line.strip()] if args.have else []
    programs = [int(p) for p in listed(args.programs)]
    if programs: from jingles.data.synth import find_soundfont
    try: size = pack(args.out, have, args.python, args.midi, find_soundfont() if programs else None, programs, weights=listed(args.weights))
    except (OSError, ValueError, subprocess.CalledProcessError) as e: sys.exit(f'gpu/pack.py: {e}')
    print(f'{args.out}: {size/2**20:.0f} MiB')


if __name__ == '__main__': main()
