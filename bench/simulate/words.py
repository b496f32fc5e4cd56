"""512 words that are one token each, at the start of a text and after a space.

Checked against `o200k_base` and `cl100k_base` by the tests. Both vocabularies split a text before
the space of ` word`, so a text of n of these words joined by single spaces is n tokens, however
it is cut into events.
"""

from __future__ import annotations

from typing import Final

_TEXT: Final = """
able about above accept actors added after air alive allow already always among amount and
another apply are around asking away back balance ball bank bar based basic beam been before
begin behavior bell below better between bind black block blue boat body bold border both
boundary bread bridge bring broken brown buffer building business care carry case cause center
chair change changes channel check checks choose chosen city close cloud coffee colors coming
comment common compact compute connect constant contact contain context continue copy corner
count counts cover covers create created credit critical custom cycles dark date day deep
degrees depth detach detail device digest digital distance divide dog doing domain done double
early earth east echo edit effect end ending entered escape even ever every exact example exist
expand export eye eyes factor failure falls family far fat features feel field file fill final
find fine finished fit flag floating floor flow focus force foreign forest form formula forward
four free fresh front fruit full fully fun future gain game gap general gets give glass global
going gold good grant greater grid growth guess guide half hand handle head height help here
hidden holders holds home horse hour hours human idea ideal ideas initial instead iron issue
joined joint joy kind know known label lake lamp large last late latest lead leading leaf learn
least left less letter life light limit line lines linked listen lists located location log logo
long look looking low made mail make mapped matching material matter mean meaning measure meet
member memory middle might mind minimal minimum minor mirror mix model months mount much name
nature near need neighbor never next nice normal not notation nothing numbers object odd offers
official once one open opened orange orbit ordered original others outer owl owner page pages
paid parent park part pass pattern patterns pause peer pen pending people perfect person
personal phone pick picture piece place plain plane planes pointer policy portion position
possible possibly power prefer previous private profile progress projects proper provider
purchase purpose push quick quiet quoted rabbit rain raise raises range rank rate rather raw
reach read reader real really reason receive recent recipe reduce region relative release remain
remove repeat report require respond result retain review rich river role rolled roots round
rounded route runs safe sale sand saved science scope screen search second section security seen
segments sequence series setting shape shares sharing sheet show shows sign signal similar
simple single six skip small smooth snow sold soon sounds space special speed spot spring stable
stack stand star start starting stay steps stick still stone storm straight stream street
stretch strict sum summary summer sun support sure surface swift tail taking task team that the
them then they thin things think thread three time top total track trait trigger trip true
turned under unique update upper users vector vertical visible water way weights well what
whatever which while white who whose wide width wind window wins winter wire wise with within
word work worked working worth writing year yes your
"""

WORDS: Final[tuple[str, ...]] = tuple(_TEXT.split())
assert len(WORDS) == 512
