"""What the metadata service knows: which identities are on this machine, and how busy it is.

Every user-assigned identity is on the machine unless its seed says ``attached: false``: the sandbox has no machines to
assign them to.
"""

import math

from keystead_sandbox.imds import errors, rules
from keystead_sandbox.resources import Identity
from keystead_sandbox.world import World

MACHINE = "/subscriptions/{}/resourcegroups/sandbox/providers/Microsoft.Compute/virtualMachines/sandbox"


class Machine:
    """The one machine of the sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world

    def attached(self) -> list[Identity]:
        """The identities that a token may be asked for."""
        return [identity for identity in self._world.identities.values() if identity.attached]

    def id_for(self, identity: Identity) -> str:
        """The machine's own resource id, of the identity's subscription."""
        return MACHINE.format(identity.subscription_id)

    def take_turn(self) -> None:
        """One of the twenty requests in a second."""
        refused = self._world.buckets.take([(("imds",), rules.LIMIT)])
        if refused is not None:
            raise errors.throttled(max(1, math.ceil(self._world.clock.to_wall_seconds(refused.wait))))
