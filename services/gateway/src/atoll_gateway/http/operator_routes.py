"""The operations of operators: hosts, access tokens, what is pushed of all tenants' events."""

from typing import Final

from atoll.wire import webhooks as w
from atoll.wire.access import AccessRole, CreateTokenRequest, TokenList, TokenView
from atoll.wire.hosts import HostList, HostOrder, HostWishRequest
from atoll_gateway.http import hosts, operations, webhooks
from atoll_gateway.http.operation import TOKEN_PATTERN, Answer, Body, Operation, Parameter
from atoll_gateway.http.operations import Operations

_TOKEN: Final = Parameter(
    name="token_id",
    place="path",
    schema={"type": "string", "pattern": "^[0-9A-Za-z]{12}$"},
    text="The token's id: what stands between the first and the second `_`.",
)
_TENANT: Final = Parameter(
    name="tenant",
    place="query",
    schema={"type": "string", "pattern": TOKEN_PATTERN},
    text="Only tokens of this tenant.",
)
_WEBHOOK: Final = Parameter(
    name="webhook_id",
    place="path",
    schema={"type": "string", "pattern": TOKEN_PATTERN},
    text="The webhook's id.",
)

_HOST: Final = Parameter(
    name="host_id",
    place="path",
    schema={"type": "string", "pattern": TOKEN_PATTERN},
    text="The host's id.",
)

FOR_OPERATORS: Final[tuple[Operation, ...]] = (
    Operation(
        method="GET",
        path="/v1/hosts",
        id="listHosts",
        summary="The hosts that live: what they have, what runs there, whether they take jobs.",
        role=AccessRole.OPERATOR,
        call=hosts.list_,
        answers={200: Answer(text="Hosts by id.", message=HostList)},
    ),
    Operation(
        method="POST",
        path="/v1/hosts/{host_id}/order",
        id="orderHost",
        summary="Drain a host or let it work again; the order stands until the next one.",
        role=AccessRole.OPERATOR,
        call=hosts.order,
        parameters=(_HOST,),
        body=Body(message=HostWishRequest, limit=hosts.MAX_ORDER),
        answers={200: Answer(text="The order that stands.", message=HostOrder)},
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/v1/webhooks",
        id="addWebhook",
        summary="Push events from now on to an address; the secret is answered once.",
        role=AccessRole.OPERATOR,
        call=webhooks.add,
        body=Body(message=w.WebhookAddRequest, limit=webhooks.MAX_ADD),
        answers={201: Answer(text="It is registered.", message=w.WebhookAdded)},
        errors=(403, 404),
    ),
    Operation(
        method="GET",
        path="/v1/webhooks",
        id="listWebhooks",
        summary="All webhooks, the oldest first.",
        role=AccessRole.OPERATOR,
        call=webhooks.list_,
        answers={200: Answer(text="Webhooks.", message=w.WebhookList)},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/webhooks/{webhook_id}",
        id="getWebhook",
        summary="One webhook.",
        role=AccessRole.OPERATOR,
        call=webhooks.get,
        parameters=(_WEBHOOK,),
        answers={200: Answer(text="The webhook.", message=w.WebhookView)},
        errors=(404,),
    ),
    Operation(
        method="DELETE",
        path="/v1/webhooks/{webhook_id}",
        id="removeWebhook",
        summary="Push nothing to it any more; what waits for it is dropped.",
        role=AccessRole.OPERATOR,
        call=webhooks.remove,
        parameters=(_WEBHOOK,),
        answers={200: Answer(text="The webhook that was.", message=w.WebhookView)},
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{webhook_id}/test",
        id="testWebhook",
        summary="Call it once, now, with an event of its own type.",
        role=AccessRole.OPERATOR,
        call=webhooks.test,
        parameters=(_WEBHOOK,),
        answers={200: Answer(text="What it answered.", message=w.WebhookTested)},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/tokens",
        id="listTokens",
        summary="Access tokens, the newest first, without what they are checked by.",
        role=AccessRole.OPERATOR,
        call=Operations.list_tokens,
        parameters=(_TENANT,),
        answers={200: Answer(text="Tokens.", message=TokenList)},
    ),
    Operation(
        method="POST",
        path="/v1/tokens",
        id="createToken",
        summary="Let an access token count, by the SHA-256 of the secret that its maker keeps.",
        role=AccessRole.OPERATOR,
        call=Operations.create_token,
        body=Body(message=CreateTokenRequest, limit=operations.MAX_TOKEN),
        answers={201: Answer(text="It counts.", message=TokenView)},
        errors=(409,),
    ),
    Operation(
        method="GET",
        path="/v1/tokens/{token_id}",
        id="getToken",
        summary="One access token.",
        role=AccessRole.OPERATOR,
        call=Operations.get_token,
        parameters=(_TOKEN,),
        answers={200: Answer(text="The token.", message=TokenView)},
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/v1/tokens/{token_id}/revoke",
        id="revokeToken",
        summary="Refuse an access token from now on, for good.",
        role=AccessRole.OPERATOR,
        call=Operations.revoke_token,
        parameters=(_TOKEN,),
        answers={200: Answer(text="The token.", message=TokenView)},
        errors=(404, 409),
    ),
)
