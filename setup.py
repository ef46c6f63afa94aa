"""The packages of the wheel: those of the library, and what a checkout has beside it: the shipped run, the pages."""

from setuptools import find_packages, setup

# By their names in the wheel, where snapvit.pipeline.opening and snapvit.launching look for them, and their folders.
BESIDE = {"snapvit.shipped": "cache", "snapvit.dashboard": ".", "snapvit.dashboard.pages": "pages"}

setup(
    packages=[*find_packages(include=["snapvit*"]), *BESIDE],
    package_dir=BESIDE,
    script_name="setup.py",  # is by itself no part of the package that it lies in, and this tells what it is
)
