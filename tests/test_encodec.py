"""EnCodec: the package's own codes and sound at every bit rate, weights that are found, checked and refused, torchaudio with and without its
native part. All with random weights in a real checkpoint file; the trained ones are never asked for"""
import copy, pickle, socket, threading, time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from jingles.core import fingerprint, generator, randn
from jingles.formats import encodec as chapter
from jingles.formats.encodec import BANDWIDTHS, CHECKPOINT, EnCodecCodes, EnCodecLatents, find_weights, load_encodec, untrained_encodec, random_encodec, save_encodec


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    "A checkpoint file in the package's format, with random weights and the right checksum in its name"
    return save_encodec(random_encodec(3), tmp_path_factory.mktemp('encodec'))


@pytest.fixture(scope='module')
def model(weights): return load_encodec(weights)


@pytest.fixture(scope='module')
def noise(): return 0.1*randn((2, 24_000), generator(0))


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    "No weights are known of: no variable, an empty cache, and an address that refuses"
    monkeypatch.delenv('JINGLES_ENCODEC', raising=False)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'cache')); monkeypatch.setenv('no_proxy', '*')
    monkeypatch.setattr(chapter.import_encodec().model, 'ROOT_URL', 'http://127.0.0.1:9/')
    return tmp_path/'cache'/'hub'/'checkpoints'


def said(error, f, *args):
    "The one line with which `f` fails"
    with pytest.raises(error) as e: f(*args)
    assert len(str(e.value).splitlines()) == 1 and len(str(e.value)) < 700
    return str(e.value)


def named(data, folder, stem='encodec_24khz'):
    "The bytes `data` in a file of `folder` whose name holds their checksum"
    file = folder/f'{stem}-{sha256(data).hexdigest()[:8]}.th'
    file.write_bytes(data)
    return file


# ---- the same as the package

@pytest.mark.parametrize('kbps', BANDWIDTHS)
def test_each_rate_agrees_with_the_package(model, noise, kbps):
    "Codes and sound are those of the package's own `encode` and `decode`; the codes stand for latents that decode to the same"
    coder, latent = EnCodecCodes(model, kbps), EnCodecLatents(model)
    assert model.quantizer.get_num_quantizers_for_bandwidth(model.frame_rate, kbps) == BANDWIDTHS[kbps] == coder.spec.channels
    codes = coder.encode(noise)
    model.set_target_bandwidth(kbps)
    (theirs, scale), = model.encode(noise[:, None])
    assert scale is None and codes.dtype == torch.int64 and torch.equal(codes, theirs)
    assert codes.shape == coder.spec.shape(75, batch=2) and 0 <= codes.min() and codes.max() <= 1023
    sound = coder.decode(codes, 20_000)
    assert torch.equal(sound, model.decode([(theirs, None)])[:, 0, :20_000].clamp(-1, 1))
    assert torch.equal(sound, latent.decode(coder.dequantise(codes), 20_000))
    assert len(codes[:, 0].unique()) > 20, 'codes that hardly vary test nothing'


def test_table_3_1(model):
    assert {k: v for k, v in BANDWIDTHS.items()} == {1.5: 2, 3: 4, 6: 8, 12: 16, 24: 32}
    assert model.target_bandwidths == list(BANDWIDTHS)
    assert EnCodecCodes(model).spec.channels == 16 and EnCodecCodes(model, 12).bandwidth == 12.


def test_eight_seconds(model):
    sound = 0.1*randn((1, 192_000), generator(1))
    latent, coder = EnCodecLatents(model), EnCodecCodes(model)
    x = latent.encode(sound)
    assert x.shape == (1, 128, 600) == latent.spec.shape(latent.frames(8)) and latent.spec.rate == 75
    assert coder.quantise(x).shape == (1, 16, 600) == coder.spec.shape(coder.frames(8)) and coder.spec.classes == 1024
    assert latent.decode(x).shape == sound.shape


@pytest.mark.parametrize('n', [1, 2, 319, 320, 321, 1000, 24_001])
def test_any_length(model, n):
    sound = 0.1*randn((1, n), generator(n))
    for form in (EnCodecLatents(model), EnCodecCodes(model, 1.5)):
        x = form.encode(sound)
        assert x.shape[-1] == form.frames(n/24_000) == -(-n//320)
        back = form.decode(x, n)
        assert back.shape == (1, n) and back.isfinite().all() and back.abs().max() <= 1


def test_batch_is_single(model, noise):
    "Latents agree but for float32 sums in another order; a code may then flip where two codewords are equally near"
    latent, coder = EnCodecLatents(model), EnCodecCodes(model)
    alone = torch.cat([latent.encode(a[None]) for a in noise])
    assert (latent.encode(noise) - alone).abs().max() < 2e-3
    assert (coder.encode(noise) == torch.cat([coder.encode(a[None]) for a in noise])).float().mean() > 0.98
    x = coder.encode(noise)
    assert (coder.decode(x) - torch.cat([coder.decode(c[None]) for c in x])).abs().max() < 1e-4


def test_more_codebooks_less_error(model, noise):
    x = EnCodecLatents(model).encode(noise)
    errors = [(x - c.dequantise(c.quantise(x))).square().mean() for c in (EnCodecCodes(model, b) for b in BANDWIDTHS)]
    assert all(a > b for a, b in zip(errors, errors[1:])), errors


def test_nothing_looks_ahead(model, noise):
    "What comes after a frame changes neither its latents nor, on the way back, its sound"
    latent = EnCodecLatents(model)
    other = torch.cat([noise[:, :9600], noise[:, 9600:].flip(1)], 1)
    a, b = latent.encode(noise), latent.encode(other)
    assert (a - b)[..., :30].abs().max() < 1e-3 and (a - b)[..., 30].abs().max() > 0.1      # 1e-3: float32, magnified by the stand-in's last layer
    assert (latent.decode(a) - latent.decode(torch.cat([a[..., :30], b[..., 30:]], -1)))[:, :9600].abs().max() < 1e-6


def test_gradient_reaches_sound_and_latents(model, noise):
    "And is right: it predicts what a small step along it does"
    latent = EnCodecLatents(model)
    sound = noise[:, :3200].clone().requires_grad_()
    latent.encode(sound).square().mean().backward()
    assert sound.grad.isfinite().all() and sound.grad.abs().max() > 0
    with torch.no_grad():
        step = 1e-3*sound.grad/sound.grad.norm()
        change = latent.encode(sound + step).square().mean() - latent.encode(sound - step).square().mean()
    assert abs(change/(2*(step*sound.grad).sum()) - 1) < 0.05      # curvature and float32
    x = latent.encode(noise[:, :3200]).requires_grad_()
    latent.decode(x).square().mean().backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0
    assert all(p.grad is None for p in latent.parameters())


def test_use_changes_nothing(model, noise):
    "Neither weights nor codebooks nor the user's random numbers, in any mode"
    before, state = fingerprint(model), torch.get_rng_state()
    coder = EnCodecCodes(model).train()
    assert torch.equal(coder.encode(noise), EnCodecCodes(model.eval()).encode(noise))
    untrained_encodec(); random_encodec()
    assert fingerprint(model) == before and torch.equal(torch.get_rng_state(), state)
    assert fingerprint(copy.deepcopy(untrained_encodec())) == fingerprint(untrained_encodec()) != fingerprint(untrained_encodec(1))


# ---- what goes in

def test_sounds_that_cannot_be(model, noise):
    for form in (EnCodecLatents(model), EnCodecCodes(model)):
        assert torch.equal(form.encode(30*noise), form.encode((30*noise).clamp(-1, 1)))
        assert torch.equal(form.encode(noise.double()), form.encode(noise))
        for shape in ((1, 0), (0, 320)): assert 'holds no sample' in said(ValueError, form.encode, torch.zeros(shape))
        for shape in ((320,), (1, 1, 320)): assert 'expected (batch, samples)' in said(ValueError, form.encode, torch.zeros(shape))
        assert 'NaN' in said(ValueError, form.encode, torch.full((1, 320), torch.nan))
        assert 'torch.int16' in said(ValueError, form.encode, torch.zeros(1, 320, dtype=torch.int16))


def test_tensors_that_cannot_be_decoded(model):
    latent, coder = EnCodecLatents(model), EnCodecCodes(model)
    for x in (torch.zeros(1, 64, 75), torch.zeros(128, 75), torch.zeros(1, 128, 0), torch.zeros(1, 128, 75, dtype=torch.long)):
        assert '(batch, 128, frames)' in said(ValueError, latent.decode, x)
    for x in (torch.zeros(1, 8, 75).long(), torch.zeros(16, 75).long(), torch.zeros(1, 16, 0).long(), torch.zeros(1, 16, 75)):
        assert '(batch, 16, frames)' in said(ValueError, coder.decode, x)
    for value in (-1, 1024): assert 'expected 0 to 1023' in said(ValueError, coder.decode, torch.full((1, 16, 75), value))
    assert torch.equal(coder.decode(torch.full((1, 16, 5), 7, dtype=torch.int32)), coder.decode(torch.full((1, 16, 5), 7)))
    for kbps in (8, 0, -12, 48): assert '1.5, 3, 6, 12, 24' in said(ValueError, EnCodecCodes, model, kbps)


# ---- weights found, read, refused

def test_where_weights_are_found(weights, model, nowhere, monkeypatch):
    "By argument or variable, as folder or file; the argument goes first; what was saved is what is loaded"
    assert fingerprint(model) == fingerprint(random_encodec(3))
    monkeypatch.setattr(chapter, 'CHECKPOINT', weights.name)
    assert find_weights(weights) == find_weights(weights.parent) == find_weights(str(weights.parent)) == weights
    monkeypatch.setenv('JINGLES_ENCODEC', str(weights.parent))
    assert find_weights() == weights
    monkeypatch.setenv('JINGLES_ENCODEC', str(weights))
    assert find_weights() == weights and fingerprint(load_encodec()) == fingerprint(model)
    assert 'no file /gone' in said(FileNotFoundError, find_weights, '/gone')


def test_weights_that_are_nowhere(nowhere, monkeypatch, tmp_path):
    "One line that says what to put where, at once; a place that was named and is wrong is not passed over"
    for place in ('gone', 'gone/file.th', '.'):
        line = said(FileNotFoundError, load_encodec, tmp_path/place)
        assert str(tmp_path) in line and f'put {CHECKPOINT} from http' in line and 'JINGLES_ENCODEC' in line
    monkeypatch.setenv('JINGLES_ENCODEC', str(tmp_path/'gone'))
    assert f'no file {tmp_path/"gone"}' in said(FileNotFoundError, load_encodec)
    monkeypatch.delenv('JINGLES_ENCODEC')
    began = time.monotonic()
    line = said(FileNotFoundError, load_encodec)
    assert 'the download failed' in line and CHECKPOINT in line and 'JINGLES_ENCODEC' in line
    assert time.monotonic() - began < 5 and not any(nowhere.iterdir())


def test_weights_that_are_damaged(weights, tmp_path):
    whole = weights.read_bytes()
    (tmp_path/CHECKPOINT).write_bytes(whole)                                        # whole, but not what the name says
    assert 'expected d7cc33bc but got' in said(ValueError, load_encodec, tmp_path)
    (tmp_path/weights.name).write_bytes(whole[:len(whole)//2])                      # half a file
    line = said(ValueError, load_encodec, tmp_path/weights.name)
    assert 'checksum' in line and weights.name in line
    (tmp_path/weights.name).write_bytes(b'')
    assert 'checksum' in said(ValueError, load_encodec, tmp_path/weights.name)
    (tmp_path/'weights.th').write_bytes(whole)
    assert 'is not named as' in said(ValueError, load_encodec, tmp_path/'weights.th')


def test_right_checksum_wrong_content(weights, tmp_path):
    for data in (weights.read_bytes()[:1_000_000], b'<html>sign in first</html>', b''):
        assert 'holds no tensors that can be read safely' in said(ValueError, load_encodec, named(data, tmp_path))
    state = torch.load(weights, weights_only=True)
    for wrong in (dict(list(state.items())[1:]), state | {'encoder.extra': torch.zeros(1)}, {'a': torch.zeros(2)}, [1, 2]):
        torch.save(wrong, tmp_path/'kept')
        assert "does not hold EnCodec's 24 kHz model" in said(ValueError, load_encodec, named((tmp_path/'kept').read_bytes(), tmp_path))


class Trap:
    def __init__(self, file): self.file = file
    def __reduce__(self): return open, (str(self.file), 'w')


def test_programs_in_a_checkpoint_are_not_run(tmp_path):
    torch.save({'weight': Trap(tmp_path/'sprung')}, tmp_path/'kept')
    for data in ((tmp_path/'kept').read_bytes(), pickle.dumps(Trap(tmp_path/'sprung'), protocol=2)):
        assert 'read safely' in said(ValueError, load_encodec, named(data, tmp_path))
    assert not (tmp_path/'sprung').exists()


# ---- the download, from a server of our own

@pytest.fixture
def server(nowhere, monkeypatch):
    "server(data, declared) serves `data` for every name, announced as `declared` bytes; returns what was asked for"
    servers = []
    def serve(data, declared=None):
        asked = []
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200 if data else 404); self.send_header('Content-Length', str(declared or len(data))); self.end_headers()
                self.wfile.write(data)
            def log_message(self, *args): pass
        servers.append(HTTPServer(('127.0.0.1', 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        monkeypatch.setattr(chapter.import_encodec().model, 'ROOT_URL', f'http://127.0.0.1:{servers[-1].server_port}/')
        return asked
    yield serve
    for s in servers: s.shutdown(); s.server_close()


def test_download(server, nowhere, weights, model, monkeypatch):
    "Fetched once from the package's address, under the package's name, into the package's cache"
    monkeypatch.setattr(chapter, 'CHECKPOINT', weights.name)
    asked = server(weights.read_bytes())
    assert fingerprint(load_encodec()) == fingerprint(model)
    assert find_weights() == nowhere/weights.name and asked == [f'/{weights.name}']
    assert [p.name for p in nowhere.iterdir()] == [weights.name]


@pytest.mark.parametrize('data, declared, word', [(b'<html>sign in first</html>', None, 'hash'), (b'half', 4000, ''), (b'', None, '404')])
def test_download_of_something_else(server, nowhere, data, declared, word):
    server(data, declared)
    line = said(FileNotFoundError, load_encodec)
    assert 'the download failed' in line and word in line and CHECKPOINT in line
    assert not any(nowhere.iterdir())


def test_server_that_says_nothing(nowhere, monkeypatch):
    "A connection that is taken and never answered is given up"
    with socket.create_server(('127.0.0.1', 0)) as silent:
        monkeypatch.setattr(chapter.import_encodec().model, 'ROOT_URL', f'http://127.0.0.1:{silent.getsockname()[1]}/')
        began = time.monotonic()
        assert 'timed out' in said(FileNotFoundError, chapter.download_weights, nowhere/CHECKPOINT, 0.3)
    assert time.monotonic() - began < 5 and socket.getdefaulttimeout() is None and not any(nowhere.iterdir())


# ---- torchaudio

def test_nothing_is_imported_before_it_is_asked_for(python):
    "Not by this chapter, nor by any on the way to a jingle"
    done = python('''
import sys, jingles.formats.encodec, jingles.system, jingles.generate, jingles.cli
print([m for m in ("encodec", "torchaudio", "tensorflow") if m in sys.modules])''')
    assert done.stdout.splitlines()[-1] == '[]', done.stdout      # above it pyfluidsynth names its library where CI is set


def test_torchaudio_as_it_is_installed(forked_python):
    "EnCodec imports; torchaudio is stood in for only where it does not import by itself, and imports afterwards in any case"
    alone = forked_python('import torchaudio', ok=False)
    done = forked_python('''
import sys, importlib.util
from jingles.formats.encodec import import_encodec
encodec = import_encodec()
native = sys.modules["torchaudio._extension"]
import torch, torchaudio, torchaudio.transforms
assert torchaudio.transforms.Resample(48000, 24000)(torch.zeros(1, 480)).shape == (1, 240)
assert torchaudio.transforms.MelSpectrogram(24000)(torch.zeros(1, 4800)).ndim == 3
assert importlib.util.find_spec("torchaudio._extension")
assert import_encodec() is encodec is sys.modules["encodec"] and encodec.modules.SEANetEncoder and encodec.quantization
print("stub" if not hasattr(native, "__file__") else "native")''')
    assert done.stdout.split()[-1] == ('native' if alone.returncode == 0 else 'stub'), done.stdout


def test_after_a_failed_import_of_torchaudio(forked_python):
    "Somebody else tried first and caught the error: what that left behind does no harm"
    forked_python('''
try: import torchaudio
except OSError: pass
from jingles.formats.encodec import untrained_encodec
untrained_encodec()
import torchaudio.functional''')


FAKE = '''
import sys
from pathlib import Path
fake = Path(sys.argv[1])
(fake/"torchaudio").mkdir(exist_ok=True)
(fake/"torchaudio"/"__init__.py").write_text(sys.argv[2])
(fake/"torchaudio"/"_extension.py").write_text(sys.argv[3])
sys.path.insert(0, str(fake))
from jingles.formats.encodec import import_encodec
import_encodec()
import torchaudio
print(hasattr(torchaudio._extension, "__file__"), torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE)
'''


def test_a_torchaudio_that_works_is_left_alone(forked_python, tmp_path):
    done = forked_python(FAKE, tmp_path, 'from . import _extension', '_IS_TORCHAUDIO_EXT_AVAILABLE = True')
    assert done.stdout.split() == ['True', 'True']


@pytest.mark.parametrize('error', ['OSError("libc10_cuda.so")', 'RuntimeError("compiled with different CUDA versions")', 'ImportError("Failed to load libtorchaudio")'])
def test_a_torchaudio_that_does_not_load_is_stood_in_for(forked_python, tmp_path, error):
    done = forked_python(FAKE, tmp_path, 'from . import _extension', f'raise {error}')
    assert done.stdout.split() == ['False', 'False']


def test_other_errors_are_not_covered_up(forked_python, tmp_path):
    done = forked_python(FAKE, tmp_path, 'from . import _extension\nraise OSError("something else")', '_IS_TORCHAUDIO_EXT_AVAILABLE = True', ok=False)
    assert done.returncode == 1 and 'OSError: something else' in done.stderr


@pytest.mark.parametrize('missing', ['encodec', 'torchaudio'])
def test_package_that_is_not_installed(forked_python, missing):
    done = forked_python(f'''
import sys
sys.modules["{missing}"] = None
from jingles.formats.encodec import EnCodecLatents, load_encodec
load_encodec("folder")''', ok=False)
    assert done.stderr.strip().splitlines()[-1] == f'ValueError: EnCodec needs the package {missing}, which is not installed; pip install encodec'
