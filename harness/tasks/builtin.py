"""Two built-in prompt sets, a thousand each, composed here from hand-written parts: no download, no licence.

A prompt's energy depends on its length, and on the lengths it shares a batch with, far more than on its words. So
the sets aim at the lengths and the mixture of real use: openings of articles, novels, news and web pages to be
continued, questions, instructions; and descriptions of pictures. Kinds alternate, so that the first prompts of a
set are a fair sample of it. The sets must not change: another word would be another experiment under an old name.
"""

from __future__ import annotations

import functools

from harness.tasks.composing import compose_set, read_parts, read_table


@functools.cache
def text_prompts() -> tuple[str, ...]:
    """A thousand distinct prompts for text generation, of about 5 to 65 words."""
    kinds = (_ARTICLE, _QUESTION, _NOVEL, _INSTRUCTION, _NEWS, _ARTICLE, _WEB, _NOVEL, _QUESTION, _INSTRUCTION)
    return compose_set(kinds, _TEXT_PARTS, (_SUBJECTS, _SKILLS, _DECISIONS), seed=1)


@functools.cache
def image_prompts() -> tuple[str, ...]:
    """A thousand distinct prompts for image generation, of about 3 to 45 words."""
    return compose_set((_SCENE, _DETAILED, _PLAIN, _DETAILED, _SCENE), _IMAGE_PARTS, (), seed=2)


# --- text -----------------------------------------------------------------------------------------

_ARTICLE = (
    "{Subject} {rank} {reach}. {Turning}",
    "The history of {subject} is usually traced back to {era}, when {event}. {Turning}",
    "{Subject} has occupied scholars since {era}. {Doubt}, and {gap}. {Turning}",
    "The history of {subject} begins in {era}, when {event}. {Doubt}, but {gap}. {Turning}",
    "In {era}, {event}. What had begun as a local matter soon changed {subject}, and with it {reach}. {Turning}",
    "Few things have shaped {reach} as quietly as {subject}. {Doubt}. {Turning}",
)
_NOVEL = (
    "{Moment}, {person} {arrival} {place}. {Weather}. {Unease}",
    "{Person} had {habit} for eleven years, and in all that time {rule}. {Moment}, {surprise}. {Unease}",
    "{Weather} {when} {person} {arrival} {place}, carrying {burden}. {Unease}",
    '"{Line}," said {person}, without looking up from {burden}. {Weather}.',
    "Nobody in {village} ever spoke of {secret}. {Moment}, {person} {arrival} {place}, and {surprise}. {Unease}",
    "{Moment}, I finally understood why {person} had {habit}. {Unease}",
)
_NEWS = (
    "{City} — {Body} said on {weekday} that it would {plan}, {reaction}.",
    "{City} — {Body} will {plan}, according to a draft seen by this newspaper on {weekday}. {Critics}. {Figures}.",
    "{City} — After {struggle}, {body} has agreed to {plan}. {Figures}, {reaction}. {Critics}.",
    "{Body} in {city} is to {plan}. The decision came after {struggle}. {Figures}.",
)
_WEB = (
    "If you have ever tried to {skill}, you know that {snag}. In this guide we will go through {promise}, "
    "starting with",
    "How to {skill} without losing heart: {promise}. You will need {tool}, {extra} and a little patience. Step 1:",
    "I bought {tool} {ago} because I wanted to {skill}. {Verdict}, and here is why:",
    "Hello everyone! {Ago} I decided to {skill}. I already have {tool} and {extra}, but {snag}. What am I doing wrong?",
    "Things I wish I had known before I tried to {skill}: first of all, {snag}. Secondly, {extra}",
)
_QUESTION = (
    "Can you explain {matter}?",
    "In plain words, tell me {matter}.",
    "My daughter asked me {matter}, and I did not know what to say. How would you explain it to a child of {age}?",
    "I have read two books on the subject and still do not see {matter}. Could you give me an example and say where "
    "the usual explanation goes wrong?",
    "What would a good teacher say first if a class of {age}-year-olds wanted to know {matter}?",
    "Is it really understood {matter}, or are there competing explanations? Please name the strongest one and what "
    "speaks against it.",
)
_INSTRUCTION = (
    "Write {form} about {theme}.",
    "Write {form} about {theme}. {Limit}.",
    "Summarise the following in one sentence: {Subject} has occupied scholars since {era}. {Doubt}, and {gap}. "
    "It is known that {event}, which changed {reach}.",
    "Rewrite this so that a child of {age} understands it: {Doubt}, but it is certain that in {era} {event}.",
    "I want to {skill}, but {snag}. Make me a plan for four weeks, with one small exercise a day. {Limit}.",
    "Translate into {language}: '{Weather} {when} {person} {arrival} {place} with {burden}.'",
    "Give me ten questions for an interview with someone who {occupation}. {Limit}.",
    "Does this review sound satisfied or disappointed? 'I bought {tool} {ago} to {skill}. {Verdict}.' "
    "Answer in one word, then give your reason.",
)

_SUBJECTS = read_table(
    "subject era event reach",
    """
    the art of navigation / the fifteenth century / captains began to compare their logbooks / trade at sea
    the study of glaciers / the eighteen-forties / a schoolteacher measured how the ice moved / alpine geology
    the printing of books / the fifteenth century / a goldsmith cast the first movable type / the life of cities
    the trade in spices / the first century BC / sailors learned to use the monsoon / the taste of whole nations
    the theory of probability / the seventeenth century / two friends wrote letters about dice / insurance
    the cultivation of rice / the late Stone Age / farmers began to flood their fields / the landscape of Asia
    the design of bridges / the Roman republic / builders mixed ash into their mortar / travel by land
    the study of earthquakes / the eighteenth century / a great port was destroyed in one morning / building law
    the tuning of pianos / the age of Bach / organists grew tired of sour chords / what we call harmony
    the measurement of time / the Middle Ages / monks wished to pray at the same hour / the rhythm of work
    the making of glass / the Bronze Age / potters noticed a shine on their kilns / both science and comfort
    the naming of stars / antiquity / herdsmen and sailors needed a calendar / poetry and astronomy alike
    the law of the sea / the age of sail / two crews claimed the same cargo of pepper / international law
    the migration of birds / the nineteenth century / a stork arrived with a foreign arrow in its neck / zoology
    the building of cathedrals / the twelfth century / an abbot asked his masons for more light / European towns
    the use of anaesthetics / the eighteen-forties / a dentist visited a travelling show / the work of surgeons
    the domestication of the horse / the fourth millennium BC / herders began to ride / the balance of power
    the drawing of maps / the sixteenth century / a merchant flattened the globe for his sailors / our view of Earth
    the grammar of sign languages / the nineteen-sixties / a teacher of English took a closer look / linguistics
    the breeding of tulips / the seventeenth century / a striped flower was sold for a house / the idea of a market
    the theory of evolution / the Victorian age / a naturalist came home with crates of finches / modern biology
    the classification of clouds / the year 1802 / a chemist gave an evening lecture in London / the weather service
    the art of fermentation / the early Neolithic / somebody forgot a jar of fruit / kitchens on every continent
    the chemistry of dyes / the eighteen-fifties / a student spilled a purple residue / the textile industry
    the regulation of rivers / the early nineteenth century / an engineer set out to straighten the Rhine / farming
    the vaccination of children / the end of the eighteenth century / a country doctor listened to milkmaids / medicine
    the invention of writing / the fourth millennium BC / temple clerks had too much barley to remember / government
    the electric telegraph / the eighteen-thirties / a painter turned to magnets and wire / news and diplomacy
    the study of coral reefs / the eighteen-forties / a ship's naturalist proposed that islands sink / marine biology
    the mathematics of knots / the late nineteenth century / physicists took atoms for knots / geometry
    """,
)
_SKILLS = read_table(
    "skill tool extra snag",
    """
    bake sourdough bread / a kitchen scale / a heavy pot / the dough sticks to everything
    repair a bicycle wheel / a spoke wrench / an old wheel to practise on / the rim bends the other way
    grow tomatoes on a balcony / a self-watering box / a bag of good compost / the leaves curl as soon as it gets hot
    learn the cello as an adult / a rented cello / a metronome / the neighbours have opinions about it
    insulate an old attic / a staple gun / a sturdy lamp / no two rafters are the same distance apart
    photograph the Milky Way / a used tripod / a wide-angle lens / the pictures come out blurred and orange
    write a small compiler / a textbook from the nineties / a large sheet of paper / errors point at the wrong line
    sew a winter coat / a second-hand sewing machine / four metres of wool / the sleeves never sit as they should
    restore a wooden window / a heat gun / a tin of linseed putty / the old paint comes off together with the wood
    keep bees in the city / a veil and gloves / a second hive / the colony swarms on the first warm day
    run a first marathon / a pair of light shoes / a training diary / the knees complain after ten kilometres
    brew beer at home / a large steel pot / a thermometer / every batch tastes slightly of cardboard
    set up a weather station / a rain gauge / forty metres of cable / the readings jump around at noon
    speak Hungarian / a pocket dictionary / a patient friend / every noun seems to have twenty endings
    draw portraits from life / a box of soft pencils / a mirror / the eyes always end up too high
    train a nervous dog / a long leash / a bag of dried liver / all progress is gone at the first doorbell
    """,
)
_DECISIONS = read_table(
    "body plan",
    """
    the city library / close two of its oldest branches
    the transport authority / replace its entire fleet of diesel buses
    the environment agency / publish all of its air measurements in full
    the water company / raise its prices by four per cent
    the ministry of culture / open the archives of the former secret police
    the city council / lower the speed limit in residential streets
    the university hospital / test a new vaccine on volunteers over seventy
    the power company / rebuild the dam that was damaged in last year's flood
    the ministry of health / hire six hundred nurses from abroad
    the national museum / return eleven paintings to the families of their owners
    the port authority / dredge the northern channel for larger ships
    the railway / bring back the night train after nineteen years
    the school board / begin lessons an hour later in winter
    the central bank / leave its key interest rate unchanged
    """,
)

_TEXT_PARTS = read_parts("""
rank: is often named first among the things that shaped / has left deep traces in / cannot be separated from /
    is a neglected chapter in the history of / was for a long time the decisive factor in

doubt: the earliest sources are fragmentary / contemporary accounts disagree about the causes /
    the figures usually quoted rest on a single document / older textbooks tell the story differently /
    much of the evidence was lost in a fire / researchers have revised the dates twice

gap: no complete account has survived / the role of women was rarely recorded / the decisive step is still disputed /
    recent finds have changed the picture / most of the details come from letters /
    the old explanation is no longer accepted

turning: It was not until much later that / Today the term is used for / Its importance lies above all in /
    Among the first to describe it in detail was / Three periods can be distinguished. /
    The reasons for this were / Modern accounts usually begin with / What made the difference in the end was /
    Its influence can still be seen in

moment: on the last evening of the fair / a little before dawn / on the day the river froze /
    three weeks after the funeral / in the autumn of that long year / at a quarter past four /
    on the morning the ferries stopped running / on the first warm night of May

when: when at last / on the night when / an hour before / as / on the very morning when / long before

person: the clockmaker's widow / old Tomasz / a boy of perhaps nine / Doctor Adeyemi / my grandmother /
    the new schoolteacher / Captain Ilves / the youngest of the sisters / a man whom nobody knew / Mrs Okafor /
    the translator / Leonor / the keeper of the lighthouse

arrival: came down the stairs of / stood once more before / found the way back to / stopped at the door of /
    was seen leaving / took a room next to / hurried past / returned to

place: the empty station / a house with green shutters / the old observatory / the bakery on Salt Street /
    the flooded mill / the border post / a theatre without a roof / the harbour office / the reading room /
    the last inn before the pass

village: Harrow's End / the valley / Port Amary / the upper town / Lindholm / San Telmo

weather: snow had begun to fall on the tiled roofs / the wind smelled of iron and apples /
    it had been raining since Tuesday without a sound / fog lay over the canal like a held breath /
    the heat had made even the dogs polite / far away a storm was rehearsing behind the hills /
    the first lamps had been lit along the quay

unease: Something was missing, and it took a moment to see what. / The door was already open. /
    There were two cups on the table. / Nobody had told the children yet. /
    The letter, when it was finally opened, contained only / And that was how it began: / This time, however, /
    It would have been easy to turn back.

habit: wound the same clock every evening / kept one chair free at the table / written letters without an address /
    walked to the harbour before breakfast / collected the names of strangers / answered questions with proverbs

rule: no one had asked why / not a single day had been missed / the neighbours had learned not to stare /
    the key had never left its hook / nothing had ever happened

surprise: the lamp in the upper window was dark / somebody knocked twice / the telephone rang in the empty hall /
    the piano was found open / a second set of footprints led to the well / everything was different

burden: a birdcage covered with a shawl / a heavy ledger / a suitcase tied up with string / a bowl of plums /
    three letters of the same date / a map of a city that was never built

line: You are late, but not as late as the others / We do not say that name in this house /
    There is still time to sell the horses / I had hoped it would be you / If they ask, the boat left yesterday /
    Count them again

secret: the year without harvest / the second bridge / what the miller had seen / the lights on the moor /
    the summer of the strike / the portrait in the attic

city: Lisbon / Nairobi / Osaka / Montevideo / Tallinn / Halifax / Jakarta / Lagos / Zagreb / Perth

weekday: Monday / Tuesday / Wednesday / Thursday / Friday

reaction: drawing cautious praise from both parties / a step that many had demanded for years /
    despite warnings about the cost / in what observers called a remarkable reversal / while declining to give a date /
    ending months of speculation

critics: Opponents called the proposal hasty / Consumer groups welcomed the news / Economists were divided /
    A spokeswoman declined to comment / Residents had learned of it from the radio

figures: around 40,000 people are affected / the project is expected to cost 210 million /
    the number of complaints has doubled since January / a first report is due within ninety days /
    nearly two thirds of those asked were in favour

struggle: three days of talks behind closed doors / a ruling by the supreme court / two failed votes /
    a petition signed by 18,000 citizens / a summer of record temperatures / a heated debate on live television

promise: the three mistakes that everybody makes / the whole process from the empty table to the finished result /
    what to buy, what to borrow and what to leave alone / a plan that leaves room for failure /
    everything that took me a year to find out

ago: two weeks ago / last winter / about a year ago / the day after my birthday / in March

verdict: It does exactly what it should / I have mixed feelings / I would not buy it again /
    It paid for itself at once / It broke on the second day / The manual alone is a small disaster

matter: why the sky is blue at noon and red in the evening / how a plane can fly upside down / why ice is slippery /
    how banks create money / why we cannot tickle ourselves / how a vaccine trains the body / how bread rises /
    why some languages have no words for left and right / how birds find their way across an ocean /
    why prices rise when nobody seems to buy more / what keeps a bicycle upright / what dreams are for /
    why prime numbers matter for secret messages / why old violins sound the way they do /
    what a black hole does to time / how the heart knows when to beat / why leaves change their colour /
    what exactly a derivative tells us / how a search engine decides what comes first /
    why the moon always shows us the same face / how treaties are enforced between states /
    why metals conduct electricity / why rivers end up with bends / why a minor chord sounds sad

age: six / seven / eight / nine / eleven / twelve

form: a short poem / a polite letter of complaint / a bedtime story / a toast for a wedding / a speech of two minutes /
    a dialogue between two strangers / a limerick / an opening paragraph for a novel / a newspaper column /
    a radio play in one scene / a song with a refrain / a product description

theme: a library at night / the first day of snow / an umbrella that was left on a train / a robot that learns to wait /
    moving to a new city / the smell of a workshop / a very small dog / the last lamplighter of the town /
    a dinner that goes wrong / the sea in November / an honest politician / growing old together / a missing comma /
    two trees in a courtyard

limit: Use no more than a hundred words / Keep the tone warm but not sentimental / End with a question /
    Avoid the words 'very' and 'amazing' / Put the most important point first / Do not use any technical terms

language: French / Spanish / Swahili / Polish / Japanese / Portuguese / German / Hindi

occupation: repairs church organs / has spent a winter in Antarctica / teaches chess in prison / rescues bats /
    designs playgrounds / drives a night bus / writes crossword puzzles
""")

# --- images ---------------------------------------------------------------------------------------

_PLAIN = ("{someone} {acting}", "{something} {lying}", "a photo of {subject}", "{medium} of {subject}")
_SCENE = (
    "{someone} {acting} {where}",
    "{something} {lying} {where}",
    "{subject} {where}, {light}",
    "{medium} of {figure} {where}, {light}",
    "{figure}, {light}, {medium}",
)
_DETAILED = (
    "{medium} of {figure} {where}, {light}, {palette}, {finish}",
    "{figure} {where}, {light}, {palette}, {medium}, {finish}, {finish}",
    "{view} of {scenery} with {subject} in the foreground, {light}, {palette}, {medium}, {finish}",
    "{view} of {figure} {where}, with {light}. In the background {scenery}, slightly out of focus. It should look "
    "like {medium}, in {palette}, with {finish}",
)

_IMAGE_PARTS = read_parts("""
subject: {someone} / {something}

figure: {someone} {acting} / {something} {lying}

someone: a red fox / an old fisherman with a white beard / two children with paper lanterns / a ginger cat /
    an astronaut / a barn owl / a woman in a yellow raincoat / a small robot made of brass / a young elephant /
    a street musician with an accordion / a ballet dancer / a giant tortoise / a baker with flour on her hands /
    a hummingbird / a lighthouse keeper / a family of hedgehogs / a dragon the size of a mouse /
    a knight without a horse / a grey wolf / an elderly couple / a beekeeper / a sleepy lion cub

something: a steam locomotive / a bowl of ripe apricots / a wooden rowing boat / a stall full of spices /
    a glass teapot / a vintage motorcycle / a bouquet of wild poppies / a chessboard / a violin / a stack of old books /
    a plate of fresh sushi / an empty armchair / a hot-air balloon / a yellow tram / a birdcage / a telescope /
    a grand piano / a globe on a wooden stand

acting: seen from behind / waiting patiently / half hidden in shadow / surrounded by fireflies / in full motion /
    looking into a puddle / under a striped umbrella / watching paper planes drift by / among fallen leaves /
    looking straight at the viewer / asleep

lying: seen from above / half hidden in shadow / surrounded by fireflies / reflected in a puddle / covered in dew /
    next to an open suitcase / beneath drifting paper planes / among fallen leaves / overgrown with ivy

where: in a narrow alley in Lisbon / on a frozen lake / in a sunlit kitchen / at the edge of a pine forest /
    on a rooftop above the city / in an abandoned greenhouse / on a beach at low tide / inside a vast library /
    at a railway station in the rain / in a field of lavender / on the surface of Mars / at the bottom of the sea /
    in a Japanese garden / on a mountain pass / in a crowded bazaar / in a room full of mirrors

scenery: a harbour town / terraced rice fields / a futuristic city / rolling hills / a desert canyon /
    a medieval square / a quiet suburb / an arctic bay / a misty valley / a botanical garden

light: soft morning light / golden evening light / light filtered by fog / neon light / the light of a single candle /
    harsh midday sun / northern lights in the sky / a thunderstorm on the horizon / dappled shade / moonlight /
    warm light from a window / pale winter light

palette: muted earth tones / black and white / pastel colours / deep blues and a touch of orange / sepia tones /
    saturated colours / green and gold / strong contrasts

medium: an oil painting / a watercolour / a charcoal sketch / a 35mm photograph / a woodblock print / a linocut /
    a low-poly 3D render / a children's book illustration / a pixel art image / a stained glass window /
    an art nouveau poster / a studio photograph / a paper collage / an isometric illustration / a film still

finish: fine detail / shallow depth of field / visible brush strokes / a clean composition / film grain /
    intricate patterns / plenty of empty space / sharp focus / perfect symmetry / rich texture

view: a wide view / a close-up / a bird's-eye view / a low-angle view / a panoramic view
""")
