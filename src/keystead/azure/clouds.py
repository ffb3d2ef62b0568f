"""Pure: the addresses of Azure's clouds."""

from dataclasses import dataclass

from keystead.model.ids import VaultUrl


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud."""

    name: str
    authority: str
    resource_manager: str
    vault_suffix: str

    @property
    def resource_manager_scope(self) -> str:
        return f"{self.resource_manager}/.default"


PUBLIC = Cloud("AzureCloud", "https://login.microsoftonline.com", "https://management.azure.com", "vault.azure.net")
CHINA = Cloud(
    "AzureChinaCloud", "https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn", "vault.azure.cn"
)
US_GOVERNMENT = Cloud(
    "AzureUSGovernment",
    "https://login.microsoftonline.us",
    "https://management.usgovcloudapi.net",
    "vault.usgovcloudapi.net",
)
CLOUDS = {cloud.name: cloud for cloud in (PUBLIC, CHINA, US_GOVERNMENT)}


def cloud_of(vault: VaultUrl) -> Cloud:
    """The cloud that a vault's suffix belongs to."""
    return next(cloud for cloud in CLOUDS.values() if cloud.vault_suffix == vault.suffix)
