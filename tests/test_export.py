"An export that is killed at any moment ends, when it is called again, with the bytes of one that never was; damage is found and named"
import json, shutil, signal, subprocess, time

import nbformat
import papermill
import pytest

import forked
from book import ROOT
from jingles.data.cards import card_text
from jingles.data.export import read_manifest
from jingles.data.records import Records, checksum

SIZE = ('--train', 160, '--valid', 24, '--seconds', 1, '--format', 'audio,codec', '--seed', 7)


def command(*args): return forked.command('-c', forked.CLI, *args)


def contents(folder):
    "The checksum of every file but the pictures, whose bytes hold the version of what drew them"
    return {str(f.relative_to(folder)): checksum(f) for f in sorted(folder.rglob('*')) if f.is_file() and f.suffix != '.jpg'}


@pytest.fixture(scope='module')
def whole(tmp_path_factory, jingles):
    "Two databases from one rendering"
    out = tmp_path_factory.mktemp('export')/'db'
    assert 'PVT-codec: 160 clips to train with, 24 to test with' in jingles('export', out, *SIZE, '--workers', 1).stdout
    return out


def shards(out): return sorted(out.rglob('[0-9]*.tfrecord'))


def test_killed_and_taken_up_is_the_same(whole, tmp_path, jingles):
    "Killed with -9 twice, at no chosen moment: early in the work, and late"
    out = tmp_path/'db'
    for enough, workers in ((1, 2), (5, 1)):
        with open(tmp_path/'said', 'w') as said: running = subprocess.Popen(command('export', out, *SIZE, '--workers', workers), cwd=ROOT, stdout=said, stderr=said)
        deadline = time.time() + 240
        while len(shards(out)) < enough and running.poll() is None and time.time() < deadline: time.sleep(0.01)
        assert forked.kill(running) == -signal.SIGKILL, (tmp_path/'said').read_text()
    assert 1 <= len(shards(out)) < len(shards(whole))
    jingles('export', out, *SIZE, '--workers', 1)
    assert contents(out) == contents(whole)
    assert not list(out.rglob('.*'))                # nothing half-written is left


def hears_ctrl_c(): signal.signal(signal.SIGINT, signal.SIG_DFL)      # tests that run in the background inherit that it is ignored


def test_ctrl_c_and_then_half_and_half(whole, tmp_path, jingles):
    "Stopped by hand it ends at once; and two machines may finish it"
    out = tmp_path/'db'
    running = subprocess.Popen(command('export', out, *SIZE), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c)
    deadline = time.time() + 240
    while not shards(out) and running.poll() is None and time.time() < deadline: time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    said = running.communicate()[1]
    assert running.returncode == 130 and 'Traceback' not in said, said
    assert not list(out.rglob('.[0-9]*'))
    assert 'this part is done' in jingles('export', out, *SIZE, '--part', '2/2', '--workers', 1).stdout
    assert 'clips to train with' in jingles('export', out, *SIZE, '--part', '1/2', '--workers', 1).stdout
    assert contents(out) == contents(whole)


def test_enlarged_killed_and_taken_up(whole, tmp_path, jingles):
    "More clips are added to what is there, which is not touched and stays readable; a kill on the way changes nothing; fewer are refused"
    import torch
    more = [v for pair in zip(SIZE[::2], SIZE[1::2]) for v in (pair if pair[0] not in ('--train', '--valid') else (pair[0], 2*pair[1] + 5))]
    for name in ('once', 'twice'): shutil.copytree(whole, tmp_path/name)
    before, out = contents(whole), tmp_path/'twice'
    assert 'PVT-codec: 325 clips to train with, 53 to test with' in jingles('export', tmp_path/'once', *more, '--workers', 1).stdout
    with open(tmp_path/'said', 'w') as said: running = subprocess.Popen(command('export', out, *more, '--workers', 1), cwd=ROOT, stdout=said, stderr=said)
    deadline = time.time() + 240
    while len(shards(out)) < len(shards(whole)) + 2 and running.poll() is None and time.time() < deadline: time.sleep(0.01)
    assert forked.kill(running) == -signal.SIGKILL, (tmp_path/'said').read_text()
    half = read_manifest(out/'PVT-codec')
    assert half['enlarging']['clips'] == [325, 53] and {k: v for k, v in half.items() if k != 'enlarging'} == read_manifest(whole/'PVT-codec')
    assert jingles('check', out).stdout.count('whole') == 2 and len(Records(out/'PVT-codec'/'train')) == 160
    done = jingles('export', out, *SIZE, ok=False)
    assert 'holds 325 clips to train with, not 160 and 53 clips to test with, not 24' in done.stderr and len(done.stderr.strip().splitlines()) == 1
    jingles('export', out, *more, '--workers', 2)
    after = contents(out)
    assert after == contents(tmp_path/'once') and not list(out.rglob('.*'))
    assert {k: v for k, v in after.items() if k in before and 'tfrecord' in k} == {k: v for k, v in before.items() if 'tfrecord' in k}
    for name in ('PVT-audio', 'PVT-codec'):
        old, new = (torch.cat([b['x'] for b in Records(folder/name/'train', batch=32)]) for folder in (whole, out))
        assert torch.equal(old, new[:160]) and len(new) == 325
        assert '325 clips to train with' in (out/name/'card.md').read_text() and 'enlarged from 160 and 24 clips' in (out/name/'card.md').read_text()
        found = read_manifest(out/name)['statistics']
        assert abs(found['std'][0] - new[:, 0].double().std(correction=0).item()) < 1e-6      # sums in float64; the codec's latents are float32


def test_damage_is_named(whole, tmp_path, jingles):
    assert jingles('check', whole).stdout.count('whole') == 2
    shutil.copytree(whole/'PVT-audio', tmp_path/'db')
    first, second = shards(tmp_path/'db'/'train')[:2]
    bad = bytearray(first.read_bytes()); bad[1000] ^= 4       # in the first record's sound
    first.write_bytes(bad)
    with pytest.raises(ValueError, match='00000.tfrecord is damaged'): list(Records(tmp_path/'db'/'train', batch=8))
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(ValueError, match='00001.tfrecord is not as long as'): Records(tmp_path/'db'/'train')
    done = jingles('check', tmp_path/'db', ok=False)
    assert done.returncode == 1 and '00000.tfrecord is damaged' in done.stdout and '00001.tfrecord has' in done.stdout and len(done.stderr.strip().splitlines()) == 1
    for f in (first, second): f.unlink()
    done = jingles('check', make_unfinished(tmp_path), ok=False)
    assert done.returncode == 1 and 'is not finished' in done.stdout


def make_unfinished(tmp_path):
    (tmp_path/'begun').mkdir()
    (tmp_path/'begun'/'manifest.json').write_text(json.dumps(dict(finished=False)))
    return tmp_path/'begun'


def test_from_recordings(tmp_path, jingles):
    "A folder of sounds; and what cannot be, in one line each"
    import numpy as np
    from jingles.audio import save
    for i in range(6): save(tmp_path/'bells'/f'{i}.wav', 0.5*np.sin(2*np.pi*(200 + 50*i)*np.arange(24000)/24000))
    said = jingles('export', tmp_path/'db', '--audio', tmp_path/'bells', '--train', 6, '--valid', 2, '--seconds', 1, '--workers', 1).stdout
    assert 'card.md' in said and 'voiced' in read_manifest(tmp_path/'db')['arrays']
    assert '--audio bells' in (tmp_path/'db'/'card.md').read_text()
    for wrong in (('--audio', tmp_path/'bells', '--midi', tmp_path), ('--audio', tmp_path/'none'), ('--part', '3/2'), ('--format', 'tape')):
        done = jingles('export', tmp_path/'no', *wrong, ok=False)
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path/'no').exists()


def test_copies_of_a_sound_are_in_one_part(tmp_path, jingles):
    "The same tune in other containers, trimmed, at other levels and rates; tunes do not become one; a larger folder moves none; a database of them is enlarged"
    import numpy as np
    import soundfile as sf
    from jingles.audio import resample
    from jingles.data.clips import PlayedClip, draw_clip
    from jingles.data.recordings import RecordingSource
    from jingles.data.synth import find_soundfont
    font = str(find_soundfont())
    def keep(folder, k, copies=True):
        wav = PlayedClip(*draw_clip(None, 3, 'train', k, 8), font).sound(8)
        files = {'wav': (wav, 24000), 'flac': (0.4*wav, 24000)} | ({} if not copies else {'aiff': (wav[30011:-20000], 24000), 'mp3': (resample(wav, 24000, 44100), 44100), 'ogg': (resample(wav, 24000, 48000)[20000:, None]*[0.6, 0.4], 48000)})
        folder.mkdir(exist_ok=True)
        for ending, (sound, rate) in files.items(): sf.write(folder/f'{k}.{ending}', sound, rate)
    def parts(folder):
        source = RecordingSource(folder)
        told = source.read(1, lambda f, tasks: map(f, tasks))
        return {name: split for split, items in source.parts.items() for name, _ in items}, told
    for k in range(12): keep(tmp_path/'few', k, copies=False); keep(tmp_path/'many', k)
    for k in range(12, 16): keep(tmp_path/'many', k)
    (few, _), (many, told) = parts(tmp_path/'few'), parts(tmp_path/'many')
    tunes = {k: {many[n] for n in many if n.split('.')[0] == str(k)} for k in range(16)}
    assert all(len(found) == 1 for found in tunes.values())
    assert 1 <= sum(found == {'valid'} for found in tunes.values()) <= 8            # a fifth; all in one group would be 0 or 16
    assert sum(many[n] == few[n] for n in few) >= 22                                 # a copy with a smaller hash of its own may take its tune along
    assert not set(told['hashes']['train'].split()) & set(told['hashes']['valid'].split()) and told['split'] == 'groups of sounds'
    size = ('--audio', tmp_path/'few', '--format', 'audio', '--seconds', 1, '--workers', 1)
    jingles('export', tmp_path/'db', *size, '--train', 8, '--valid', 2)
    before = {f.name: checksum(f) for f in (tmp_path/'db'/'train').glob('*.tfrecord')}
    assert '20 clips to train with, 3 to test with' in jingles('export', tmp_path/'db', *size, '--train', 20, '--valid', 3).stdout
    assert before.items() <= {f.name: checksum(f) for f in (tmp_path/'db'/'train').glob('*.tfrecord')}.items()
    assert len(np.concatenate([b['x'] for b in Records(tmp_path/'db'/'train')])) == 20


def test_a_formats_config(tmp_path, jingles):
    "It is in manifest, card and folder's name; another one is refused, by an export that goes on and by a training, in one line"
    size = ('--train', 4, '--valid', 2, '--seconds', 1, '--workers', 1)
    jingles('export', tmp_path/'db', '--format', 'cqt:hop=80,power=0.5,per_bin=true', *size)
    held = read_manifest(tmp_path/'db')
    assert held['parameters']['format']['config'] == dict(f_min=130.81, n_bins=216, bins_per_octave=36, hop=80, power=0.5, per_bin=True)
    assert held['name'] == 'PVT-cqt-hop80-power0.5-per_bin' and len(held['statistics']['std']) == 2*216
    words = (tmp_path/'db'/'card.md').read_text()
    assert '--format cqt:hop=80,power=0.5,per_bin=true' in words and 'Curves at 300 frames a second. Frame j stands at j/rate' in words and 'over 216 bins of 2 channel(s)' in words
    def refused(*args):
        done = jingles(*args, ok=False)
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
        return done.stderr
    before = contents(tmp_path/'db')
    assert 'holds another export, with format=cqt:hop=80,power=0.5,per_bin=true, not format=cqt:hop=80; choose' in refused('export', tmp_path/'db', '--format', 'cqt:hop=80', *size)
    assert contents(tmp_path/'db') == before
    train = ('train', '--data', tmp_path/'db', '--out', tmp_path/'run', '--preset', 'smoke')
    assert "was exported in cqt:hop=80,power=0.5,per_bin=true, but the model's format is cqt:hop=100,power=1.0,per_bin=false; set format to cqt:hop=80,power=0.5,per_bin=true" in refused(*train, '--set', 'format=cqt')
    jingles(*train, '--set', 'format=cqt:hop=80,power=0.5,per_bin=true', '--set', 'steps=2', '--set', 'widths=8,12')
    from jingles.formats.cqt import CQT
    from jingles.models import load_model
    model = load_model(tmp_path/'run')
    assert model.format.config == held['parameters']['format']['config'] and model.std.shape == (2, 216, 1) and model.data[0]['format_config'] == model.format.config
    with pytest.raises(ValueError, match='it was saved in cqt:per_bin=true'): load_model(tmp_path/'run', CQT(hop=80, power=0.5))
    for wrong in ('cqt:tape=1', 'cqt:hop=loud', 'cqt:f_min=9000', 'encodec-codes:books=5', 'codec:books=2', 'cqt,cqt:power=1'): refused('export', tmp_path/'no', '--format', wrong, '--codec', tmp_path)
    assert not (tmp_path/'no').exists()


def test_table_3_1(tmp_path, jingles):
    "Two of its rates in one export, with EnCodec's weights from a folder"
    from jingles.formats.encodec import random_encodec, save_encodec
    weights = save_encodec(random_encodec(), tmp_path/'encodec')
    jingles('export', tmp_path/'db', '--format', 'encodec-codes:books=2,encodec-codes:books=32', '--codec', weights, '--train', 2, '--valid', 1, '--seconds', 1, '--workers', 1)
    found = [read_manifest(tmp_path/'db'/f'PVT-disc-books{q}') for q in (2, 32)]
    assert [(m['arrays']['x'], m['parameters']['format']['config']) for m in found] == [(['int16', [q, 75]], dict(books=q)) for q in (2, 32)]


def test_expressive_playing(tmp_path, jingles):
    "Swells within notes reach the curves and the sound, the manifest and the card say how it was played, and anything else is refused"
    import numpy as np
    way = ('--playing', 'expressive', '--invented', 0.5)
    jingles('export', tmp_path/'db', '--format', 'audio', *way, '--train', 16, '--valid', 1, '--seconds', 2, '--workers', 1)
    held = read_manifest(tmp_path/'db')
    assert (held['parameters']['playing'], held['parameters']['invented']) == ('expressive', 0.5) and 'pitch' in held['arrays']
    assert '--playing expressive --invented 0.5' in (tmp_path/'db'/'card.md').read_text()
    clips = next(iter(Records(tmp_path/'db'/'train', batch=16)))
    chroma, velocity = clips['chroma'][:, 0].numpy(), clips['velocity'][:, 0].numpy()
    within = (np.diff(chroma) == 0) & (velocity[:, 1:] > 0) & (velocity[:, :-1] > 0)
    moves = [(np.abs(np.diff(v))[w] > 0).mean() > 0.5 for v, w in zip(velocity, within)]
    assert 2 <= sum(moves) <= 14 and not any(m for m, i in zip(moves, clips['instruments'][:, 0, 0]) if i == 1)      # never the piano's
    named = clips['pitch'][:, 0].numpy()*85 + 23
    assert np.abs((named.round() % 12/11 - chroma)[velocity > 0]).max() < 1e-5
    assert "playing is 'jazz'; expected sine or expressive" in jingles('export', tmp_path/'no', '--playing', 'jazz', ok=False).stderr


def test_run_notebook(forked_kernels, tmp_path, monkeypatch):
    "nbs/runs/export.ipynb through papermill, and once more: the second time there is nothing to do"
    monkeypatch.delenv('MPLBACKEND', raising=False)         # pictures in the notebook, as a user sees them
    given = dict(out=str(tmp_path/'db'), train=6, valid=2, seconds=1., workers=1, formats='codec-codes')
    for _ in range(2): nb = papermill.execute_notebook(ROOT/'nbs'/'runs'/'export.ipynb', tmp_path/'run.ipynb', given, progress_bar=False)
    text = json.dumps(nb)
    assert 'finished: codec-codes' in text and 'perplexity over classes' in text and text.count('image/jpeg') >= 2


CARDS = sorted((ROOT/'data_cards').glob('*.json'))

@pytest.mark.parametrize('path', CARDS, ids=lambda p: p.stem)
def test_cards_say_what_the_code_does(path, jingles):
    "A card is what its manifest makes it, and the manifest's arrays are those that the code makes today"
    from jingles.data.clips import MelodySource
    from jingles.data.collection import VALID_SHARE
    from jingles.data.export import ExportSettings, plan_database, upgrade_description
    from jingles.system import parse_formats
    manifest = json.loads(path.read_text())
    if path.stem == 'measured': return
    p = manifest['parameters']
    times = json.loads((ROOT/'data_cards'/'measured.json').read_text())
    written = path.with_suffix('.md').read_text()
    assert card_text(manifest, f"data/{manifest['name']}", f'{path.stem}.jpg', times[p['format']['name']]) == written
    assert f'ratio {VALID_SHARE}' in written or manifest['source']['kind'] == 'generator'
    assert path.with_suffix('.jpg').stat().st_size < 60_000
    made = parse_formats(p['format'].get('text', p['format']['name']))
    if 'encodec' in p['format']['name']:
        from jingles.formats.encodec import EnCodecCodes, EnCodecLatents, random_encodec
        made = {p['format']['name']: (EnCodecCodes if p['format']['classes'] else EnCodecLatents)(random_encodec())}
    (name, format), = made.items()
    now = plan_database('x', name, format, MelodySource(), ExportSettings(tuple(p['clips']), p['seconds'], p['seed'], p['shard_mb']))
    assert {k: [d, list(s)] for k, (d, s) in now.shapes.items()} == manifest['arrays']
    assert now.parameters['shard_clips'] == p['shard_clips'] and now.title == manifest['name']
    today, then = (d | dict(weights_sha256=None) if 'encodec' in name else d for d in (now.parameters['format'], upgrade_description(p['format'], now.parameters['format'])))
    if 'centred' not in p['format']: today['centred'] = False             # the curves of an older database are not, whatever its format
    assert today == then


def test_a_loaders_workers_share_the_records(whole):
    "Two ranks with two workers each see every clip once"
    import torch
    from torch.utils.data import DataLoader
    loaders = [DataLoader(Records(whole/'PVT-codec'/'valid', batch=4, shuffle=16, rank=r, world=2), batch_size=None, num_workers=2, multiprocessing_context='spawn') for r in range(2)]
    seen = torch.cat([b['x'].flatten(1)[:, ::7] for loader in loaders for b in loader])
    every = torch.cat([b['x'].flatten(1)[:, ::7] for b in Records(whole/'PVT-codec'/'valid', batch=4)])
    assert len(seen) == len(every) == 24
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, every.tolist()))


@pytest.mark.parametrize('given, says', [(dict(ouput='db'), "no parameter 'ouput'"), (dict(train='many'), "train is 'many'; expected int")])
def test_run_notebook_refuses(forked_kernels, tmp_path, given, says):
    "A misspelt name, a wrong type: before any work"
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(ROOT/'nbs'/'runs'/'export.ipynb', tmp_path/'run.ipynb', dict(out=str(tmp_path/'db')) | given, progress_bar=False)
    assert error.value.ename == 'ValueError' and says in error.value.evalue and not (tmp_path/'db').exists()
