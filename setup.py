"Packaging: everything that is said here comes from settings.ini, where nbdev reads it too"
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf8')
cfg = parser['DEFAULT']


def words(key): return cfg.get(key, '').split()


train, lab, serve, hub, dev, docs = map(words, ('train_requirements', 'lab_requirements', 'serve_requirements', 'hub_requirements', 'dev_requirements', 'docs_requirements'))
readme = here/'README.md'

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=readme.read_text(encoding='utf8') if readme.exists() else cfg['description'],
    long_description_content_type='text/markdown',
    keywords=cfg['keywords'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=[cfg['lib_path'], f"{cfg['lib_path']}.*"]),
    package_data={cfg['lib_path']: ['weights/**', '**/*.js']},
    install_requires=words('requirements'),
    extras_require=dict(train=train, lab=lab, serve=serve, hub=hub, docs=docs, dev=train + lab + serve + hub + dev + docs),
    entry_points=dict(console_scripts=cfg['console_scripts'].split(), nbdev=[f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"]),
    zip_safe=False,
)
