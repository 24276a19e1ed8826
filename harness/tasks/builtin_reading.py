"""Built-in texts to be read: reviews, questions with their texts, gaps, names, articles. A thousand each, no download.

Composed from hand-written parts, as tasks/builtin composes prompts, at lengths of the sets used for these tasks:
reviews of one to eight sentences (from SST-2 to a short IMDb), questions on a paragraph (SQuAD), sentences with a word
left out, sentences full of names (CoNLL), short news articles (XSum). The sets must not change: another word would be
another experiment under an old name.
"""

from __future__ import annotations

import functools

from harness.tasks.base import MASK
from harness.tasks.composing import compose_set, read_parts, read_table

_SEPARATOR = " ||| "


@functools.cache
def reviews() -> tuple[str, ...]:
    """A thousand distinct reviews, glad and disappointed in turn, of 5 to 89 words, half above 33."""
    return compose_set((_SHORT, _LONG, _MIDDLE, _LONG, _SHORT), _REVIEW_PARTS, (), seed=3)


@functools.cache
def questions() -> tuple[tuple[str, str], ...]:
    """A thousand distinct pairs: a question, and a paragraph of 69 to 108 words that holds its answer."""
    composed = compose_set((_ASKED,), _PLACE_PARTS, (_PLACES,), seed=4)
    pairs = (text.split(_SEPARATOR) for text in composed)
    return tuple((question, context) for question, context in pairs)


@functools.cache
def masked_sentences() -> tuple[str, ...]:
    """A thousand distinct sentences of 12 to 28 words with one word left out, written [MASK]."""
    return compose_set((_GAPS,), _PLACE_PARTS | _REVIEW_PARTS | {"gap": (MASK,)}, (_PLACES,), seed=5)


@functools.cache
def name_sentences() -> tuple[str, ...]:
    """A thousand distinct sentences of 15 to 30 words with people, places and organisations in them."""
    return compose_set((_NAMES,), _PLACE_PARTS, (_PLACES,), seed=6)


@functools.cache
def articles() -> tuple[str, ...]:
    """A thousand distinct articles of 227 to 268 words."""
    return compose_set((_ARTICLES,), _PLACE_PARTS, (_PLACES,), seed=7)


# --- reviews ----------------------------------------------------------------------------------------------

_SHORT = (
    "{Praise}.",
    "{Blame}.",
    "{Praise}, though {blame}.",
    "{Thing} that {praise_it}; {praise}.",
    "{Thing} that {blame_it}, and {blame}.",
)
_MIDDLE = (
    "{Opening}. {Praise}, and {praise}. {Closing_good}.",
    "{Opening}. {Blame}, and {blame}. {Closing_bad}.",
    "{Opening}. {Praise}, but {blame}. {Closing_bad}.",
)
_LONG = (
    "{Opening}. {Scene}. {Praise}, and {praise}. {Aside}. {Scene}. {Praise}. {Closing_good}.",
    "{Opening}. {Scene}. {Blame}, and {blame}. {Aside}. {Scene}. {Blame}. {Closing_bad}.",
    "{Opening}. {Aside}. {Scene}. {Praise}; {blame}. {Scene}. {Aside}. {Praise}. {Closing_good}.",
    "{Opening}. {Aside}. {Scene}. {Blame}; {praise}. {Scene}. {Aside}. {Blame}. {Closing_bad}.",
)

_REVIEW_PARTS = read_parts(
    """
opening: I went in without having read a word about it / My sister had been recommending this for years / We watched
it on a wet Sunday with the whole family / I have seen everything this director has made / The trailer had promised me
a comedy / After three delays it has finally reached our small cinema / I wanted to like it before the lights went
down / Half of the festival stood in line for this one

thing: a slow film about two sisters and a ferry / a thriller set in a lighthouse / a tale of three cooks and one oven
/ a war story without a single battle / a musical about the last tram driver / a portrait of a village without water /
a western that is filmed entirely indoors / a comedy of errors in a museum at night

praise_it: stays with you for days / earns each of its tears / finds a new joke in every room / looks like a painting
and moves like a dance / trusts its audience / is over too soon / makes silence exciting

blame_it: never finds its own tone / mistakes noise for feeling / takes two hours to say one thing / is in love with
its own cleverness / forgets half of its people / looks expensive and feels cheap / ends three times

praise: the acting is quiet and exact / the music knows when to stop / every minute of it is alive / the children in
it talk like children / the ending is as surprising as it is right / the camera seems to breathe / I laughed more than
I had in months / it is written with real tenderness / the old man at the ferry deserves a prize / not one scene is
wasted

blame: the plot falls apart in the last third / nobody in it talks like a human being / the jokes are older than the
hero / I looked at my watch six times / the music tells you what to feel / it has been cut with a bread knife / the
villain explains himself twice / the love story is an afterthought / everything important happens off screen / the
dialogue could have been written by a committee

scene: there is a long dinner in the middle where nobody eats / in the first ten minutes a letter is lost and found
again / the harbour is filmed in every weather there is / a scene with a broken piano explains the whole family /
halfway through, the story moves to another country without a word / the storm, when it comes at last, lasts for
twenty minutes / two strangers share a taxi and say what nobody else will say

aside: I should add that I am no friend of long films / my neighbour slept, but he sleeps everywhere / the subtitles
were white on white for most of it / people around me were crying, and not from boredom / I read the book twenty years
ago and remember only the dog / the popcorn was better than usual / it was shot in eleven days, as the credits say

closing_good: I will see it again on Thursday / Go, and take someone you love / This is what cinemas were built for /
I came out into the rain and did not mind it / If it wins nothing this year, prizes mean nothing

closing_bad: I want my evening back / Wait until it is free, and then wait a little longer / There is a good film
somewhere in it, and it is forty minutes long / We left before the credits / I cannot remember the name of a single
person in it
"""
)

# --- places and their people ------------------------------------------------------------------------------

_ASKED = tuple(
    question + _SEPARATOR + text
    for question in (
        "Who founded the {works} in {town}?",
        "In which year was the {works} in {town} opened?",
        "What does the {works} in {town} make?",
        "On which river does {town} lie?",
        "How many people worked there at its height?",
    )
    for text in (
        "{Town} lies on the {river}, where {landscape}. In {year} {founder} opened a {works} there, which made "
        "{goods}. "
        "{Custom}. At its height it gave work to {number} people, {crowd}. {Trouble}, and {aftermath}. {Today}.",
        "{Custom}. That is how people in {town} remember the {works} which {founder} opened on the {river} in "
        "{year}. It "
        "made {goods}, and {number} people worked there at its height, {crowd}. {Trouble}. {Aftermath}. {Quote}, "
        "says a "
        "guide. {Today}.",
        "Of the towns on the {river}, {town} is the one where {landscape}. {Trouble}, as the chronicle tells, long "
        "after "
        "{founder} had opened the {works} in {year}. {Number} people made {goods} in it at its height, {crowd}; "
        "{aftermath}. {Today}.",
    )
)
_GAPS = (
    "{Town} lies on the {gap}, where {landscape}.",
    "In {year} {founder} opened a {gap} in {town}, which made {goods}.",
    "{Trouble}, and {gap} {number} people had to look for other work.",
    "The {works} in {town} was famous for its {gap}, and {custom}.",
    "{Quote}, said the {gap} of {town} when {founder} came back.",
    "{Opening}, and {gap} enough {praise}.",
    "{Praise}, but the {gap} of it is that {blame}.",
    "{Scene}, which is why I {gap} this film to everyone.",
)
_NAMES = (
    "{Founder} of {town} sold the {works} on the {river} to {company} in {year}.",
    "{Company} and the {office} in {town} said on {weekday} that {founder} would leave after the talks in {city}.",
    "{Founder} met {founder2} of {company} in {city} in {year}, and both later moved to {town}.",
    "When {company} bought the {works} in {town}, {founder2}, then at the {office}, wrote to {founder} in {city}.",
    "In {city}, {founder2} told the {office} that {company} had never paid for the {works} which {founder} built on "
    "the "
    "{river} in {year}.",
)
_FIRST = (
    "{Town}, {weekday}. {Company} is to close the {works} on the {river}, which {founder} opened in {year}. The "
    "{office} "
    "was told on {weekday} in a letter of four lines.",
    "{Founder2} of the {office} has asked {company} to keep the {works} in {town} open for another year. {Founder} had "
    "opened it on the {river} in {year}.",
    "A {works} that once gave work to {number} people in {town} will become a museum. {Company}, which had bought it "
    "from "
    "the heirs of {founder}, agreed on {weekday}.",
)
_MIDDLES = (
    "{Town} lies where {landscape}. {Custom}. The {works} made {goods}, and at its height {number} people worked "
    "there, "
    "{crowd}.",
    "{Quote}, says {founder2}, whose mother worked there for thirty years. {Custom}. {Trouble}, and {aftermath}.",
    "What was made there were {goods}. {Trouble}. {Aftermath}. Of the {number} people who worked in it, {crowd}, few "
    "are "
    "left.",
    "The chronicle of the town tells of {founder} that nobody ever saw him without a hat. {Custom}. {Trouble}, but "
    "{aftermath}.",
)
_LAST = (
    "The {office} meets again on {weekday}. {Quote}, says one who will not give her name. {Today}.",
    "{Company} did not answer questions. In {city}, where it has its seat, {crowd}. {Today}.",
    "{Founder2} wants to speak in {city} on {weekday}. {Quote}. {Today}.",
)
_ARTICLES = tuple(
    " ".join((first, *_MIDDLES[turn:], *_MIDDLES[:turn], last))
    for first in _FIRST
    for turn in range(len(_MIDDLES))
    for last in _LAST
)

_PLACES = read_table(
    "town river landscape goods works",
    """
    Ostermarsch / Leyde / the road leaves the dyke and the land lies below the sea / ropes and sails / ropewalk
    Calder Bridge / Arrow / three valleys meet and fog stays until noon / woollen cloth / spinning mill
    Villanova / Tersa / vineyards climb up to the snow / bottles and lamp glass / glassworks
    Hrabova / Morlava / beech woods come down to the water / chairs and tables / furniture factory
    Port Selwyn / Amara / the river is wide enough for ocean ships / tinned fish / cannery
    Kesterholm / Fenn / peat was cut for six hundred years / bricks and tiles / brickyard
    Saint-Orens / Vaire / the water falls four metres over a weir / writing paper / paper mill
    Tamarin Hill / Olu / red earth colours everything after rain / cotton thread / textile works
    Novi Brod / Lisna / the plain begins that ends at the sea / ploughs and wagons / foundry
    Eastwick / Lune / the chalk hills end in a white cliff / clocks and scales / clock factory
    Ankerfjord / Storelva / the railway ends and the ferries begin / barrels and boats / shipyard
    Quebrada Honda / Yuma / the canyon opens into orchards / soap and candles / soap works
    """,
)
_PLACE_PARTS = read_parts(
    """
founder: Martha Eilers / Jonathan Pryce / Ada Lindqvist / Tomas Havel / Rosalind Okafor / Emil Brandt / Lucia Ferrante
/ Henrik Solberg / Mary Ann Dutton / Pavel Novotny / Amina Diallo / Samuel Reyes

founder2: Clara Weiss / Oliver Grant / Ingrid Dahl / Jan Kolar / Grace Adeyemi / Peter Vogel / Giulia Conti / Nora
Berg / Edward Finch / Irena Svoboda / Fatou Sow / Diego Morales

company: Northern Linen / Havel and Sons / the Meridian Company / Atlas Foods / Borealis Shipping / Consolidated Brick
/ the Union of Mills / Harbour Trust

office: town council / chamber of trade / regional court / harbour office / ministry of works / teachers' union

city: Lisbon / Trieste / Rotterdam / Gdansk / Bergen / Marseille / Dakar / Valparaiso / Liverpool / Hamburg

weekday: Monday / Tuesday / Wednesday / Thursday / Friday / Saturday

year: 1788 / 1804 / 1821 / 1836 / 1849 / 1857 / 1868 / 1873 / 1889 / 1897 / 1904 / 1911

number: forty / eighty / a hundred and twenty / three hundred / four hundred and fifty / six hundred / nine hundred /
two thousand

custom: every child in the town was given one of its products at the age of six / the bell rang at five in summer and
at six in winter / on the first of May the gates stood open for everyone / whoever married on a Saturday was paid for
the Monday as well / nobody was allowed to whistle while the furnace was lit / the workers chose their own foreman
each spring

crowd: most of them women from the villages around / many of them from the other side of the river / not one of whom
had been born in the town / among them eleven brothers / and as many again came for the harvest

trouble: a flood carried away the sheds in one night / the great fire spared only the chimney / cheaper goods came up
the river by steamer / the owners quarrelled for nine years over a will / two winters without coal were too much / the
new railway passed it by at a distance of thirty miles

aftermath: the machines were sold by weight / half of the town moved away within a year / the workers bought it with
their own savings / it was built again, larger and in iron / the debts were paid by a lottery / it stood empty for a
generation

quote: "We always thought that it would outlive us" / "Nobody came here for the view" / "My father set his watch by
that chimney" / "You could hear it before you could see it" / "It smelled of work, and we were proud of it"

today: today there is a library in it, and the smell of its trade is still in the beams / today a swimming pool is
heated by what was its boiler / today the gate is all that can be seen of it / today its hall is used for weddings and
elections / today it is run by a cooperative of thirty
"""
)
