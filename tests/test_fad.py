"The embeddings' networks against the packages that their weights come from, VGGish's own loading code with a checkpoint made for the test, and what is said where they are missing"
import importlib.util, shutil
from hashlib import sha256

import numpy as np
import pytest
import torch

from book import ROOT
from jingles.evaluation import fad

RNG = np.random.default_rng(0)


def package(name):
    "The folder of an installed package, which is not imported; where it is missing the test is skipped"
    found = importlib.util.find_spec(name.replace('-', '_'))
    return found.submodule_search_locations[0] if found else pytest.skip(f'{name} is not installed; make dev')


def sound(rate, seconds=4):
    t = np.arange(int(rate*seconds))/rate
    return (0.3*np.sin(2*np.pi*440*t*(1 + 0.1*t)) + 0.02*RNG.normal(size=len(t))).astype(np.float32)


def test_versions_are_those_that_were_tested():
    pins = dict(l.split('==') for l in (ROOT/'constraints.txt').read_text().splitlines() if '==' in l)
    assert {k: pins[k] for k in fad.PINS} == fad.PINS


def test_aisfx_is_the_packages_network():
    folder = package('aisfx')
    spec = importlib.util.spec_from_file_location('aisfx_cnn2d', f'{folder}/models/cnn2d.py')
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    net = theirs.EmbeddingNet('max', 3, 1, 64).eval()
    net.load_state_dict(fad.read_aisfx(f'{folder}/models/checkpoint.pth'))
    s = sound(44_100)
    with torch.no_grad(): expected = net.to(fad.default_device())(fad.split_blocks(fad.aisfx_frames(s), 100, 50)).cpu()
    found = fad.load_aisfx().call(s)
    assert found.shape == (2, 512) and expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-5)      # the same operations in the same order, in float32


def test_musicnn_is_the_graph_that_was_saved():
    "The network as TensorFlow saved it beside its weights, without what trains it"
    folder = package('musicnn') + '/MTT_musicnn/'
    tf = fad.tensorflow()
    saved = tf.compat.v1.MetaGraphDef()
    saved.ParseFromString(open(folder + '.meta', 'rb').read())
    out = 'model/batch_normalization_10/batchnorm/add_1'
    graph = tf.compat.v1.graph_util.extract_sub_graph(saved.graph_def, [out])
    for node in graph.node: node.attr.pop('_output_shapes', None)
    frames = fad.split_blocks(fad.musicnn_frames(sound(16_000)), 187, 94)
    reader = tf.compat.v1.train.NewCheckpointReader(folder)
    with tf.Graph().as_default() as g, tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name='')
        def nodes(*kinds): return [g.get_tensor_by_name(f'{n.name}:0') for n in graph.node if n.op in kinds]
        feed = {v: reader.get_tensor(v.op.name) for v in nodes('VariableV2', 'Variable')}
        feed |= {p: False if p.dtype == tf.bool else frames.cpu().numpy() for p in nodes('Placeholder')}
        expected = session.run(f'{out}:0', feed)
    with torch.no_grad(): found = fad.musicnn_net(fad.read_musicnn(folder), frames).cpu().numpy()
    assert found.shape == (1, 200) and expected.std() > 0.1
    assert np.allclose(found, expected, atol=1e-3*expected.std())      # float32, sums in another order
    assert fad.load_musicnn().call(sound(16_000, 8)).shape == (4, 200)


HUBCONF = """
import torch
from torch import hub, nn
dependencies = ['torch']

class Small(nn.Module):
    "Takes what VGGish takes and gives what it gives: a sound, an embedding for each .96 s"
    def __init__(self, url):
        super().__init__()
        self.embeddings, self.postprocess = nn.Sequential(nn.Linear(16, 128), nn.ReLU()), True
        self.load_state_dict(hub.load_state_dict_from_url(url))
    def forward(self, x, rate):
        assert rate == 16000 and not self.postprocess
        parts = torch.tensor(x[:len(x)//15360*15360].reshape(-1, 16, 960)).float()
        return self.embeddings(parts.square().mean(2).to(self.device))

def vggish(**options): return Small('https://example.org/' + FILE)
"""


@pytest.fixture
def hub(tmp_path):
    "A folder of torch.hub with code that is called as VGGish's is, and a checkpoint"
    (tmp_path/'checkpoints').mkdir()
    (tmp_path/'harritaylor_torchvggish_master').mkdir()
    file = tmp_path/'checkpoints'/'new.pth'
    torch.manual_seed(0)
    torch.save({'embeddings.0.weight': torch.randn(128, 16), 'embeddings.0.bias': torch.zeros(128)}, file)
    name = f'vggish-{sha256(file.read_bytes()).hexdigest()[:8]}.pth'
    file.rename(tmp_path/'checkpoints'/name)
    (tmp_path/'harritaylor_torchvggish_master'/'hubconf.py').write_text(f'FILE = {name!r}\n' + HUBCONF)
    return tmp_path


def test_vggish_through_its_package(hub, monkeypatch):
    package('frechet-audio-distance')
    before = torch.hub.get_dir()
    embedding = fad.load_vggish(hub)
    assert torch.hub.get_dir() == before and embedding.name == 'vggish' and embedding.rate == 16_000
    x = embedding.call(sound(16_000, 3))
    assert x.shape == (3, 128) and (x < 0).any(), "the package takes the last activation off, and so do published figures"
    assert embedding.call(sound(16_000, 0.2)).shape == (1, 128)
    monkeypatch.setenv('JINGLES_VGGISH', str(hub))
    assert fad.load_embedding().name == 'vggish', "where it is there it is the one that is taken"
    theirs = fad.load_fad(hub, hub/'harritaylor_torchvggish_master')
    a, b = RNG.normal(size=(500, 8)), RNG.gamma(2, size=(400, 8))
    (m1, c1), (m2, c2) = theirs.calculate_embd_statistics(a), theirs.calculate_embd_statistics(b)
    assert abs(fad.frechet_distance(m1, c1, m2, c2) - theirs.calculate_frechet_distance(m1, c1, m2, c2)) < 1e-6


def test_nothing_is_fetched(hub):
    "Code that wants another file than what is in the cache is refused, without the network"
    package('frechet-audio-distance')
    conf = hub/'harritaylor_torchvggish_master'/'hubconf.py'
    conf.write_text(conf.read_text().replace("+ FILE", "+ 'vggish_pca_params-970ea276.pth'"))
    with pytest.raises(FileNotFoundError, match='vggish_pca_params-970ea276.pth is missing; fetch it with'): fad.load_vggish(hub)


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(fad, 'find_spec', lambda name: None)
    monkeypatch.setenv('JINGLES_VGGISH', str(tmp_path))
    for name in ('aisfx', 'musicnn'):
        with pytest.raises(FileNotFoundError, match=f'the package {name} is not installed; pip install --no-deps {name}=='): fad.load_embedding(name)
    with pytest.raises(FileNotFoundError, match='set JINGLES_VGGISH'): fad.load_embedding('vggish')
    with pytest.raises(FileNotFoundError, match='no embedding is installed'): fad.load_embedding()


def test_a_changed_checkpoint_is_refused(monkeypatch, tmp_path):
    folder = package('aisfx')
    shutil.copytree(f'{folder}/models', tmp_path/'models')
    with open(tmp_path/'models'/'checkpoint.pth', 'ab') as f: f.write(b'x')
    monkeypatch.setattr(fad, 'package_file', lambda name, file: tmp_path/file)
    with pytest.raises(ValueError, match='is not the file that was tested'): fad.load_aisfx()


def test_sounds_of_a_database(tiny, tmp_path):
    from jingles.data.export import ExportSettings, export
    export(tmp_path/'db', formats=dict(audio=None), settings=ExportSettings(clips=(2, 5), seconds=1), workers=1)
    def level(s): return np.array([[np.log(np.square(s[i:i + 2400]).mean() + 1e-6) for i in k] for k in ([0, 4800], [9600, 14_400])])
    sounds = list(fad.iter_sounds(tmp_path/'db'))
    assert len(sounds) == 5 and sounds[0].shape == (24_000,)
    from_disk, from_memory = (fad.measure_distances(s, dict(again=s), level, paired=['again'])['again'] for s in (tmp_path/'db', sounds))
    assert from_disk == from_memory and from_disk.embedding == 'level' and from_disk.fad == 0
    with pytest.raises(ValueError, match='no raw audio'): fad.iter_sounds(tiny/'db')
