"Samples on disk by the command: written once, completed, enlarged, and read by everything that measures"
import json

from test_command_line import said
from test_faults import rejected

from jingles.data.records import check_database
from jingles.data.samples import read_items

QUICK = '--steps', 1, '--guidance', 1, '--unconditional-scale', 1, '--workers', 1


def shards(folder): return {p: p.stat().st_mtime_ns for p in folder.rglob('*.tfrecord')}


def test_samples_are_made_once(said, rejected, tmp_path):
    out, how = tmp_path/'s', ('--seconds', 1, *QUICK)
    assert '2 sounds of 1 s' in said('sample', out, '--count', 2, *how)
    asked = list(read_items(tmp_path/'s-real'))
    for made, real in zip(read_items(out), asked, strict=True):
        assert made['x'].shape == (1, 24_000) and abs(made['x']).max() > 0
        for name in ('notes', 'pitch', 'velocity', 'style'): assert (made[name] == real[name]).all()
    before = shards(out)
    said('sample', out, '--count', 2, *how)
    assert shards(out) == before
    manifest = json.loads((out/'manifest.json').read_text())
    next(iter(before)).unlink()
    said('sample', out, '--count', 2, *how)
    assert json.loads((out/'manifest.json').read_text())['shards'] == manifest['shards'] and not check_database(out)
    assert '3 sounds' in said('sample', out, '--count', 3, *how)
    assert len(list(read_items(out))) == 3
    assert 'holds another export' in rejected('sample', out, '--count', 3, '--seconds', 1, '--seed', 5, *QUICK)
    assert '2 sounds of 1 s' in said('sample', tmp_path/'t', '--data', tmp_path/'s-real', '--count', 2, *QUICK)
    assert 'ask for fewer' in rejected('sample', tmp_path/'u', '--data', tmp_path/'s-real', '--count', 9, *QUICK)
    said('sample', tmp_path/'open', '--open', '--count', 1, *how)
    assert (next(read_items(tmp_path/'open'))['chroma'] == -1).all()
