"Every row of the tables in `system` offers what the chapter of protocols asks for"
import pytest

from jingles.core import Spec
from jingles.formats.encodec import EnCodecCodes, EnCodecLatents, random_encodec
from jingles.protocols import Backbone, FeatureEmbedding, Format, Injector, Paradigm, SamplerFunction, missing
from jingles.system import BACKBONES, EMBEDDINGS, FORMATS, INJECTORS, PARADIGMS, build_net, configure, features_of, make_format

SMALL = dict(widths=(8, 12), emb=16, control_channels=4, times=30, schedule='cosine')
CODES, LATENTS = Spec(4, 75., classes=16), Spec(4, 75.)


def spec_for(row): return CODES if row.paradigm.discrete else LATENTS


@pytest.mark.parametrize('name', PARADIGMS)
def test_paradigms_and_samplers(name):
    row = PARADIGMS[name]
    cfg = configure(paradigm=name, format='codec-codes' if row.paradigm.discrete else 'codec', **SMALL)
    assert missing(row.make(cfg, spec_for(row)), Paradigm) == []
    assert {k: missing(sampler, SamplerFunction) for k, sampler in row.samplers.items()} == dict.fromkeys(row.samplers, [])


@pytest.mark.parametrize('name', FORMATS)
def test_formats(name):
    own = {'encodec': EnCodecLatents, 'encodec-codes': EnCodecCodes}
    format = own[name](random_encodec()) if name in own else make_format(configure(format=name, **SMALL | (dict(paradigm='discdpm') if 'codes' in name else {})))
    assert missing(format, Format) == [] and format.name == name


@pytest.mark.parametrize('name', INJECTORS)
def test_injectors(name):
    assert missing(INJECTORS[name](8, 4), Injector) == []


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones(name):
    assert missing(build_net(configure(backbone=name, **SMALL), LATENTS), Backbone) == []


@pytest.mark.parametrize('name', EMBEDDINGS)
def test_embeddings(name):
    for feature in features_of(configure()).values(): assert missing(EMBEDDINGS[name](feature), FeatureEmbedding) == []


def test_a_part_that_lacks_something_is_seen():
    class Short:
        discrete = False
        def loss(self, net, x0): pass
        def sample(self, net, shape, cond, seed, **options): pass
    assert missing(Short(), Paradigm) == ['has no steps', 'loss does not take cond', 'sample demands cond', 'has no count']
