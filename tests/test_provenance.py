"What a model was trained on is known wherever it goes, and an evaluation says whether its songs were among that"
import json, shutil

import numpy as np
import pytest
from jingles.core import rng_for
from jingles.data.melody import random_melody
from jingles.data.clips import MelodySource
from jingles.data.export import ExportSettings, export, read_manifest
from jingles.evaluation import tables
from jingles.formats.codec import load_codec
from jingles.limits import model_folder
from jingles.models import load_model, read_training_data, save_model
from jingles.system import configure, preset
from jingles.training import train, training_data_records
from symusic import Note, Score, Track
from test_command_line import said
from test_faults import rejected


def write_song(path, k):
    "An invented song of 20 s"
    score, track = Score(480, ttype='tick'), Track(name='melody', program=0, is_drum=False, ttype='tick')
    for n in random_melody(rng_for('song', k), 20): track.notes.append(Note(round(n.start*960), round((n.end - n.start)*960), n.pitch, n.velocity, ttype='tick'))
    score.tracks.append(track)
    score.dump_midi(path)


@pytest.fixture(scope='module')
def songs(tmp_path_factory):
    "A folder of 24 songs"
    folder = tmp_path_factory.mktemp('songs')/'pop'
    folder.mkdir()
    for k in range(24): write_song(folder/f'{k:02}.mid', k)
    return folder


@pytest.fixture(scope='module')
def trained(tiny, songs, tmp_path_factory):
    "A model, hardly trained, on a database of clips of these songs"
    folder = tmp_path_factory.mktemp('trained')
    export(folder/'db', MelodySource(songs), dict(codec=load_codec(tiny/'codec')), ExportSettings((12, 6), 1), workers=1)
    train(configure(preset('smoke'), codec=str(tiny/'codec'), steps=4, epoch_steps=2), folder/'db', folder/'run')
    return folder


def moved(model, folder, data):
    "A copy of a model that was trained on other `data`"
    shutil.copytree(model, folder)
    (folder/'data.json').write_text(json.dumps(dict(trained_on=data)))
    return folder


def test_a_start_that_is_named_by_a_shipped_model_keeps_its_record(trained, tmp_path):
    shipped = read_training_data(model_folder('notes'))
    found = training_data_records(preset('notes-few'), trained/'db', tmp_path/'new')
    assert found[:-1] == shipped and found[-1]['database'] == 'PVT-codec'


def test_every_copy_knows(trained, tmp_path):
    source = read_manifest(trained/'db')['source']
    assert len(source['hashes']['train'].split()) == source['train'] > source['valid'] == len(source['hashes']['valid'].split()) > 0
    save_model(load_model(trained/'run'), tmp_path/'copy')
    for folder in (trained/'run', trained/'run'/'best', tmp_path/'copy'):
        record, = load_model(folder).data
        assert record['hashes'] == source['hashes']['train'] and record['source']['melodies_sha256'] == source['melodies_sha256'], folder
        assert (record['database'], record['format'], record['clips'], record['source']['name']) == ('PVT-codec', 'codec', [12, 6], 'pop')


def test_evaluation_says_what_was_seen(trained, songs, said, rejected, tmp_path, monkeypatch):
    "Of the songs that the model was trained on, of others, of both; and when nothing is left, it is refused"
    monkeypatch.chdir(tmp_path)
    def evaluated(model, source, *rest, **how): return dict(training=tables.training_summary(model, source))
    monkeypatch.setattr(tables, 'evaluate', evaluated)
    monkeypatch.setattr(tables, 'metrics_markdown', lambda metrics: '')
    options = '--midi', songs, '--out', 'm.json', '--force', '--workers', 1
    valid, learnt = (read_manifest(trained/'db')['source'][k] for k in ('valid', 'train'))
    assert f"trained on PVT-codec (12 clips of 1 s of {learnt} MIDI files of pop). None of the {valid} songs" in said('evaluate', '--model', trained/'run', *options)
    record, = load_model(trained/'run').data
    hashes = read_manifest(trained/'db')['source']['hashes']['valid']
    other = record | dict(source=record['source'] | dict(name='lmd', melodies_sha256='0'))
    some = moved(trained/'run', tmp_path/'some', [other | dict(hashes=hashes.split()[0])])
    words = said('evaluate', '--model', some, *options)
    assert words.count('\n') <= 2 and f"1 of {valid} songs were among the model's training songs; the figures flatter it" in words
    kept = json.loads((tmp_path/'m.json').read_text())['training']
    assert (kept['songs'], kept['seen'], kept['whole'], kept['trained_on'][0]['source']['name']) == (valid, 1, True, 'lmd') and 'hashes' not in kept['trained_on'][0]
    every = moved(trained/'run', tmp_path/'every', [None, other | dict(hashes=hashes)])
    assert f'all {valid} songs that clips are held out of were' in rejected('evaluate', '--model', every, *options[:2], *options[-2:])
    words = said('evaluate', '--model', every, *options)
    assert 'trained on data that are not recorded, then on PVT-codec' in words and f'{valid} of {valid} songs' in words
    words = said('evaluate', *options)
    assert 'The model was trained on PVT-spectral (5000 clips' in words
    unknown = moved(trained/'run', tmp_path/'unknown', [None])
    words = said('evaluate', '--model', unknown, *options)
    assert "The model's training data are not recorded. Whether" in words and 'is not known' in words
    assert 'are invented' in said('evaluate', *options[2:])


@pytest.fixture(scope='module')
def bells(tmp_path_factory):
    "A database of recordings, of raw sound, and one in the codec's format"
    from jingles.audio import save
    from jingles.data.recordings import RecordingSource
    folder, t = tmp_path_factory.mktemp('bells'), np.arange(36_000)/24_000
    for k, f in enumerate((220, 262, 330, 392, 440, 523, 587, 659)): save(folder/'sounds'/f'{k}.wav', 0.4*np.exp(-t)*np.sin(2*np.pi*f*t))
    export(folder/'db', RecordingSource(folder/'sounds'), dict(audio=None, codec=load_codec()), ExportSettings((8, 3), 1), workers=1)
    return folder/'db'


def test_recordings_are_measured_on_recordings(bells, trained, said, rejected, tmp_path, monkeypatch):
    "The whole command, with a model that is hardly trained: no instruments, no SoundFont, the real sounds follow their own curves"
    monkeypatch.chdir(tmp_path)
    train(configure(preset('smoke'), features='descriptors', steps=2, epoch_steps=2, tries=0), bells/'Sounds-codec', tmp_path/'run')
    monkeypatch.setattr(tables, 'synth', None)
    how = 'evaluate', '--model', tmp_path/'run', '--steps', 2, '--workers', 1, '--force', '--out', 'm.json'
    valid = read_manifest(bells/'Sounds-audio')['source']['valid']
    for name, exact in (('audio', True), ('codec', False)):
        words = said(*how, '--data', bells/f'Sounds-{name}')
        found = json.loads((tmp_path/'m.json').read_text())
        real = {r['measure']: r['mean'] for r in found['follow']['real clips']}
        assert (real['pitch within 50 cents'] == 1 and abs(real['loudness error [dB]']) < 0.5) if exact else real['pitch within 50 cents'] > 0.5
        assert found['training']['cost'] == json.loads((tmp_path/'run'/'training.json').read_text()) and found['training']['cost']['seconds'] > 0
        assert found['clips'] == 3 and found['classifier'] is None and 'instrument' not in real and list(found['codec']) == ['all']
        assert f"None of the {valid} sounds that clips are held out of was among the model's training sounds." in words.splitlines()[0]
        assert ('they go a second time' in words) != exact and 'classifier' not in words
    for data, says in ((trained/'db', 'other weights of codec'), (tmp_path, 'no database at'), (bells/'Sounds-audio', 'both --midi and --data')):
        assert says in rejected(*how, '--data', data, *(('--midi', tmp_path) if 'both' in says else ()))
    notes = tmp_path/'notes'
    export(notes, formats=dict(audio=None), settings=ExportSettings((1, 1), 1), workers=1)
    assert 'has no curves of ' in rejected(*how, '--data', notes)


def test_an_edited_card_stays(bells, said, rejected):
    "Of recordings nobody knows how many there could be; what somebody wrote about them is not lost"
    card = bells/'Sounds-audio'/'card.md'
    said('card', card.parent)
    assert 'this one' in card.read_text() and 'full size' not in card.read_text()
    card.write_text('Recorded in the tower.')
    assert 'is there with another text' in rejected('card', card.parent)
    said('export', bells, '--audio', bells.parent/'sounds', '--format', 'audio,codec', '--train', 8, '--valid', 3, '--seconds', 1, '--workers', 1)
    assert card.read_text() == 'Recorded in the tower.' and (bells/'Sounds-codec'/'card.md').exists()
    said('card', card.parent, '--force')
    assert 'tower' not in card.read_text()
