"""Propagation, the two caches, and an issuer that rotates its keys; all on virtual time."""

import asyncio

import pytest

from keystead_sandbox.entra.state import KEYS_LIFETIME, REFETCH_INTERVAL
from sandbox import entra_keyvault_fixtures
from sandbox.entra_keyvault_fixtures import ISSUER, SUBJECT, Cloud

cloud = entra_keyvault_fixtures.cloud
pytestmark = pytest.mark.looptime
OTHER = "system:serviceaccount:shop:other"


async def test_a_credential_works_once_it_has_propagated(cloud: Cloud) -> None:
    cloud.trust(now=True)

    await asyncio.sleep(15)

    assert await cloud.exchange() == 0


async def test_an_exchange_before_that_is_refused_and_remembered(cloud: Cloud) -> None:
    cloud.trust(now=True)
    assert await cloud.exchange() == 70025

    await asyncio.sleep(89)
    assert await cloud.exchange() == 70025

    await asyncio.sleep(1.1)
    assert await cloud.exchange() == 0


async def test_answers_from_the_negative_entry_do_not_extend_it(cloud: Cloud) -> None:
    cloud.trust(now=True)
    refusals = 0
    while refusals < 20 and await cloud.exchange():
        refusals += 1
        await asyncio.sleep(10)

    assert refusals == 9  # at 0, 10, ... 80; the one at 90 succeeds


async def test_a_refusal_before_the_write_counts_too(cloud: Cloud) -> None:
    assert await cloud.exchange() == 70025
    await asyncio.sleep(10)
    cloud.trust(now=True)

    await asyncio.sleep(75)
    assert await cloud.exchange() == 70025

    await asyncio.sleep(6)
    assert await cloud.exchange() == 0


async def test_without_a_credential_a_new_entry_follows_the_old(cloud: Cloud) -> None:
    await cloud.exchange()
    await asyncio.sleep(91)
    await cloud.exchange()
    cloud.trust()  # long propagated, but the second refusal froze what was there

    await asyncio.sleep(80)
    assert await cloud.exchange() == 70025


@pytest.mark.parametrize(
    ("claims", "code"),
    [({"sub": OTHER}, 700213), ({"sub": SUBJECT.lower()}, 7002138), ({"iss": f"{ISSUER}x"}, 700211)],
    ids=["subject", "case", "issuer"],
)
async def test_an_entry_is_of_its_tuple_alone(cloud: Cloud, claims: dict[str, str], code: int) -> None:
    cloud.trust()
    assert await cloud.exchange(**claims) == code

    assert await cloud.exchange() == 0
    assert await cloud.exchange(**claims) == code


async def test_an_entry_is_of_its_client_alone(cloud: Cloud) -> None:
    assert await cloud.exchange() == 70025
    cloud.identity = cloud.world.add_identity("second")
    cloud.trust()

    assert await cloud.exchange() == 0


async def test_a_wrong_signature_makes_no_entry(cloud: Cloud) -> None:
    cloud.trust()
    assert await cloud.exchange(signed_by="k2") == 700027

    assert await cloud.exchange() == 0


async def test_a_second_credential_propagates_by_itself(cloud: Cloud) -> None:
    cloud.trust()
    cloud.trust("fic2", subject=OTHER, now=True)

    assert await cloud.exchange() == 0
    assert await cloud.exchange(sub=OTHER) == 700213


async def test_a_used_credential_outlives_its_delete_by_the_positive_cache(cloud: Cloud) -> None:
    cloud.trust()
    assert await cloud.exchange() == 0
    cloud.withdraw()

    await asyncio.sleep(59)
    assert await cloud.exchange() == 0

    await asyncio.sleep(1.1)  # the exchange a second ago prolonged nothing
    assert await cloud.exchange() == 70025


async def test_an_unused_credential_is_gone_at_once(cloud: Cloud) -> None:
    cloud.trust()
    cloud.withdraw()

    assert await cloud.exchange() == 70025


async def test_a_credential_made_again_waits_behind_the_refusal_of_the_old(cloud: Cloud) -> None:
    cloud.trust()
    cloud.withdraw()
    assert await cloud.exchange() == 70025
    cloud.trust(now=True)

    await asyncio.sleep(60)
    assert await cloud.exchange() == 70025

    await asyncio.sleep(31)
    assert await cloud.exchange() == 0


async def test_a_token_in_hand_lives_on_after_the_delete(cloud: Cloud) -> None:
    cloud.trust()
    response = await cloud.post(client_assertion=cloud.cluster.token())
    cloud.withdraw()

    await asyncio.sleep(86399)
    assert cloud.authority.verify(response.json()["access_token"], {"https://vault.azure.net"})

    await asyncio.sleep(2)
    assert cloud.authority.verify(response.json()["access_token"], {"https://vault.azure.net"}) is None


async def test_keys_are_fetched_once_an_hour(cloud: Cloud) -> None:
    cloud.trust()
    await cloud.exchange()
    await asyncio.sleep(KEYS_LIFETIME - 1)
    await cloud.exchange()
    assert len(cloud.cluster.fetched) == 2

    await asyncio.sleep(1)
    await cloud.exchange()
    assert len(cloud.cluster.fetched) == 4


async def test_a_new_key_is_found_when_a_token_shows_it(cloud: Cloud) -> None:
    cloud.trust()
    await cloud.exchange()
    cloud.cluster.published = ["k1", "k2"]
    await asyncio.sleep(REFETCH_INTERVAL)

    assert await cloud.exchange(kid="k2") == 0
    assert await cloud.exchange(kid="k1") == 0


async def test_unknown_keys_do_not_hammer_the_issuer(cloud: Cloud) -> None:
    cloud.trust()
    await cloud.exchange()
    await asyncio.sleep(REFETCH_INTERVAL)
    for _ in range(10):
        assert await cloud.exchange(kid="k2") == 700027

    assert len(cloud.cluster.fetched) == 4


async def test_a_key_that_is_published_too_late_waits_for_the_next_look(cloud: Cloud) -> None:
    cloud.trust()
    assert await cloud.exchange(kid="k2") == 700027
    cloud.cluster.published = ["k2"]
    assert await cloud.exchange(kid="k2") == 700027

    await asyncio.sleep(REFETCH_INTERVAL)
    assert await cloud.exchange(kid="k2") == 0
    assert await cloud.exchange(kid="k1") == 700027  # dropped from the set


async def test_an_issuer_that_is_down_lives_on_its_cached_keys(cloud: Cloud) -> None:
    cloud.trust()
    await cloud.exchange()
    cloud.cluster.down = True
    await asyncio.sleep(REFETCH_INTERVAL)

    assert await cloud.exchange(kid="k2") == 700027
    assert await cloud.exchange() == 0
