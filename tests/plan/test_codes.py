"""What Entra and Key Vault answer, in words; and where a token and a credential differ."""

import pytest

from keystead.model.credentials import EXCHANGE_AUDIENCE, Credential
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Exchange
from keystead.plan.codes import CODES, NETWORK, Presented, difference, meaning, said
from keystead.plan.verification import proves_nothing
from plan.worlds import NOW

HELD = Credential("c", "https://oidc.test/a/", "system:serviceaccount:shop:keystead", EXCHANGE_AUDIENCE)
TOKEN = Presented(HELD.issuer, HELD.subject, (HELD.audience,))


@pytest.mark.parametrize("code", CODES)
def test_each_code_says_what_it_is_whether_it_heals_and_what_to_do(code: str) -> None:
    each = CODES[code]

    assert each.says
    assert not each.says.endswith(".")
    assert each.cure or CATALOGUE[each.reason].admin != "See the AADSTS code in the message."
    assert said(Exchange(code, NOW)) == f"{code}: {each.says}"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AADSTS7002138", Reason.CASE_MISMATCH),
        ("AADSTS700212", Reason.AUDIENCE_MISMATCH),
        ("AADSTS53003", Reason.EXCHANGE_REFUSED),
        ("ForbiddenByFirewall", Reason.VAULT_CLOSED),
        ("NameNotResolved", Reason.VAULT_UNREACHABLE),
        ("AzureUnavailable", Reason.AZURE_UNAVAILABLE),
        ("AADSTS424242", Reason.EXCHANGE_REFUSED),
        ("", Reason.EXCHANGE_REFUSED),
    ],
)
def test_a_code_leads_to_a_reason(code: str, reason: Reason) -> None:
    assert meaning(Exchange(code, NOW)).reason is reason


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (TOKEN, ""),
        (TOKEN._replace(audiences=("https://other", HELD.audience)), ""),
        (
            TOKEN._replace(issuer="https://oidc.test/a"),
            "issuer: the token says 'https://oidc.test/a', Azure has 'https://oidc.test/a/' (the trailing slash)",
        ),
        (
            TOKEN._replace(subject="system:serviceaccount:Shop:keystead"),
            (
                "subject: the token says 'system:serviceaccount:Shop:keystead', "
                "Azure has 'system:serviceaccount:shop:keystead' (upper and lower case)"
            ),
        ),
        (
            TOKEN._replace(issuer="https://oidc.test/a/ "),
            "issuer: the token says 'https://oidc.test/a/ ', Azure has 'https://oidc.test/a/' (blanks)",
        ),
        (
            TOKEN._replace(issuer="https://else", audiences=()),
            (
                "issuer: the token says 'https://else', Azure has 'https://oidc.test/a/'; "
                "audience: the token says '', Azure has 'api://AzureADTokenExchange'"
            ),
        ),
    ],
)
def test_where_a_token_and_a_credential_differ_both_are_shown(token: Presented, told: str) -> None:
    assert difference(token, HELD) == told


@pytest.mark.parametrize("code", NETWORK)
def test_silence_proves_nothing_but_a_broken_certificate_does(code: str) -> None:
    assert proves_nothing(Exchange(code, NOW)) is (code != "CertificateNotTrusted")


def test_an_answer_that_refuses_proves_something() -> None:
    assert [code for code in CODES if code not in NETWORK and proves_nothing(Exchange(code, NOW))] == []
