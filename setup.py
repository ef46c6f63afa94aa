"""The packages of the wheel: those of the library, and the shipped run, which a checkout has in `cache/`."""

from setuptools import find_packages, setup

SHIPPED = "snapvit.shipped"  # where snapvit.pipeline.opening looks for it

setup(packages=[*find_packages(include=["snapvit*"]), SHIPPED], package_dir={SHIPPED: "cache"})
