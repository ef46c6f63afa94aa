"""Names of Streamlit's that it does not call public: all that the dashboard uses, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest


def declare_scripts(package: str, component: str, root: Path, folder: str) -> None:
    """Have the running server serve `folder` of `root` to a component, as an installed package's manifest would."""
    manager = get_bidi_component_manager()
    if manager.get_component_asset_root(f"{package}.{component}") is None:
        manifest = ComponentManifest(package, version="", components=[ComponentConfig(component, folder)])
        manager.register_from_manifest(manifest, root)
