"""Azure's clouds: the public names that clients insist on, and what each cloud calls its resources.

Names are those of the clouds' own metadata (``GET /metadata/endpoints``) and of "National clouds" in Entra's
documentation. A tenant of the sandbox is found in every cloud unless its seed names one, so that a client of any cloud
can be tried without a seed; in Azure a tenant lives in one.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

ServiceName: TypeAlias = Literal["entra", "arm", "keyvault"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud; host names in lower case, resources without a slash at the end."""

    name: str
    login_hosts: tuple[str, ...]
    login_aliases: tuple[str, ...]
    arm_host: str
    classic: str
    """The service management endpoint, which Resource Manager's tokens may still be for."""
    vault_suffix: str
    """With its leading dot."""
    graph: str
    portal: str
    storage_suffix: str
    sts: str
    """Where tokens in the v1 shape say they come from; the tenant's id follows."""

    @property
    def login_host(self) -> str:
        """The host that clients are sent to."""
        return self.login_hosts[0]

    @property
    def arm_resource(self) -> str:
        return f"https://{self.arm_host}"

    @property
    def vault_resource(self) -> str:
        return f"https://{self.vault_suffix[1:]}"

    @property
    def names(self) -> tuple[str, ...]:
        """What a certificate for this cloud is for."""
        return (*self.login_hosts, self.arm_host, f"*{self.vault_suffix}")

    def service_at(self, host: str) -> ServiceName | None:
        """The service that answers at *host*, in lower case."""
        if host in self.login_hosts:
            return "entra"
        if host == self.arm_host:
            return "arm"
        return "keyvault" if host.endswith(self.vault_suffix) and host != self.vault_suffix else None


PUBLIC = Cloud(
    name="AzureCloud",
    login_hosts=("login.microsoftonline.com", "login.windows.net"),
    login_aliases=("login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"),
    arm_host="management.azure.com",
    classic="https://management.core.windows.net",
    vault_suffix=".vault.azure.net",
    graph="https://graph.microsoft.com",
    portal="https://portal.azure.com",
    storage_suffix="core.windows.net",
    sts="https://sts.windows.net/",
)
CHINA = Cloud(
    name="AzureChinaCloud",
    login_hosts=("login.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
    login_aliases=("login.partner.microsoftonline.cn", "login.chinacloudapi.cn"),
    arm_host="management.chinacloudapi.cn",
    classic="https://management.core.chinacloudapi.cn",
    vault_suffix=".vault.azure.cn",
    graph="https://microsoftgraph.chinacloudapi.cn",
    portal="https://portal.azure.cn",
    storage_suffix="core.chinacloudapi.cn",
    sts="https://sts.chinacloudapi.cn/",
)
GOVERNMENT = Cloud(
    name="AzureUSGovernment",
    login_hosts=("login.microsoftonline.us", "login.usgovcloudapi.net"),
    login_aliases=("login.microsoftonline.us", "login.usgovcloudapi.net"),
    arm_host="management.usgovcloudapi.net",
    classic="https://management.core.usgovcloudapi.net",
    vault_suffix=".vault.usgovcloudapi.net",
    graph="https://graph.microsoft.us",
    portal="https://portal.azure.us",
    storage_suffix="core.usgovcloudapi.net",
    sts="https://sts.windows.net/",
)
CLOUDS = (PUBLIC, CHINA, GOVERNMENT)
_BY_NAME = {cloud.name: cloud for cloud in CLOUDS}


def cloud_named(name: str) -> Cloud:
    """The cloud of this name, the public one for no name. KeyError for a name that is none."""
    return _BY_NAME[name] if name else PUBLIC


def cloud_at(host: str) -> Cloud:
    """The cloud that *host* belongs to; the public one for a host of none."""
    return next((cloud for cloud in CLOUDS if cloud.service_at(host) is not None), PUBLIC)


def service_at(host: str) -> ServiceName | None:
    """The service that answers at *host*, in whatever cloud; None when the host is not Azure's."""
    return next((service for cloud in CLOUDS if (service := cloud.service_at(host)) is not None), None)
