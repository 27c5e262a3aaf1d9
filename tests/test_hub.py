"A model of the hub, from a folder in the layout of the hub's cache: no network is asked"
import os, shutil

import pytest

from jingles.hub import file_sha256, push_model
from jingles.limits import model_folder

pytest.importorskip('huggingface_hub')


class Pushed:
    "Takes what is pushed as if it had been fetched: contents below `blobs`, links to them below `snapshots`"
    def __init__(self, cache): self.cache = cache
    def create_repo(self, repo, exist_ok, private): self.root = self.cache/f"models--{repo.replace('/', '--')}"
    def upload_folder(self, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.root/'snapshots'/('a'*40))
        (self.root/'blobs').mkdir(); (self.root/'refs').mkdir(); (self.root/'refs'/'main').write_text('a'*40)
        for path in [p for p in (self.root/'snapshots').rglob('*') if p.is_file()]:
            blob = self.root/'blobs'/file_sha256(path)
            path.rename(blob); path.symlink_to(os.path.relpath(blob, path.parent))


@pytest.fixture
def cache(tmp_path):
    assert push_model('notes', 'ann/bells', 'apache-2.0', api=Pushed(tmp_path/'cache')) == 'hf:ann/bells'
    return tmp_path/'cache'


def test_generate_with_a_model_of_the_hub(cache, tmp_path, jingles):
    "The command line takes `hf:OWNER/NAME`; the file says so, and is made again bit for bit"
    env = dict(env=os.environ | dict(HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE='1'))
    out = tmp_path/'a.wav'
    jingles('generate', '--model', 'hf:ann/bells', '--seconds', 1, '--steps', 2, '--no-picture', '--out', out, **env)
    assert 'model hf:ann/bells (edm on spectral' in jingles('about', out, **env).stdout
    assert 'the same sound, bit for bit' in jingles('again', out, **env).stdout
    wrong = jingles('generate', '--model', 'hf:ann/drums', '--out', tmp_path/'b.wav', ok=False, **env)
    assert wrong.returncode == 1 and wrong.stderr.splitlines() == ['jingles: hf:ann/drums cannot be fetched: the hub cannot be reached and the cache has none; connect, or name a folder']


def test_damaged(cache, python):
    "A byte that changed on the way is found before anything is loaded"
    weights = next(cache.glob('models--*/snapshots/*/model.safetensors')).resolve()
    data = bytearray(weights.read_bytes()); data[-1] ^= 1; weights.write_bytes(data)
    code = 'from jingles.models import load_model\ntry: load_model("hf:ann/bells")\nexcept ValueError as e: print(e)'
    said = python(code, env=os.environ | dict(HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE='1')).stdout
    assert said.startswith('model.safetensors of hf:ann/bells is damaged: its SHA-256 is not the one it had; delete ')


def test_without_the_package(python):
    "One line says which package is missing"
    code = 'import sys; sys.modules["huggingface_hub"] = None; sys.argv[:] = ["jingles", *sys.argv[1:]]; from jingles.cli import main; main()'
    for args in (('generate', '--model', 'hf:ann/bells'), ('push', 'notes', 'ann/bells')):
        done = python(code, *args, ok=False)
        assert done.returncode == 1 and done.stderr.splitlines() == ["jingles: models of the hub need the package huggingface_hub; pip install 'jingles[hub]'"]


def test_only_what_cannot_run_is_pushed(cache, tmp_path):
    "Of a training's folder the model goes, and neither its checkpoints nor its log"
    folder = tmp_path/'run'
    shutil.copytree(model_folder('notes'), folder)
    for name in ('checkpoint.pt', 'log.jsonl', 'setup.py'): (folder/name).write_text('no')
    push_model(folder, 'ann/run', api=Pushed(cache))
    names = {p.name for p in cache.glob('models--ann--run/snapshots/*/*')}
    assert names == {'README.md', 'SHA256SUMS', 'config.json', 'data.json', 'metrics.json', 'metrics.md', 'model.safetensors'}
