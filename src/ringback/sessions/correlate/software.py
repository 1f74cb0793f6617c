"""What a User-Agent or Server header tells about the kind of party that wrote it."""

from __future__ import annotations

import re

_SWITCH = re.compile(
    r"kamailio|opensips|openser|sip ?express|freeswitch|asterisk|fpbx|3cxphonesystem|oversip|drachtio|yate",
    re.IGNORECASE,
)
_GATEWAY = re.compile(
    r"gateway|trunk|\bsbc\b|sonus|ribbon|metaswitch|audiocodes|mediant|genband|nortel|huawei|\bzte\b|oracle|acme ?packet"
    r"|patton|smartnode|\bios\b|dialogic|veraz|sansay|telcobridges|quintum",
    re.IGNORECASE,
)
_PHONE = re.compile(
    r"yealink|poly|snom|grandstream|linksys|sipura|cisco[/-](?:spa|cp|sip)|gigaset|fanvil|aastra|mitel|panasonic|htek|obihai"
    r"|fritz|zoiper|linphone|microsip|x-lite|bria|eyebeam|blink|jitsi|baresip|pjsua|pjsip|csipsimple|telephone|sipdroid"
    r"|twinkle|groundwire|acrobits|3cxphone|sip\.?js|jssip|avaya|openstage|wildix|escene|akuvox|iphone|android|\bphone",
    re.IGNORECASE,
)


def is_switch(user_agent: str) -> bool:
    return bool(_SWITCH.search(user_agent))


def is_gateway(user_agent: str) -> bool:
    return bool(_GATEWAY.search(user_agent))


def is_phone(user_agent: str) -> bool:
    return bool(_PHONE.search(user_agent)) and not is_switch(user_agent)
