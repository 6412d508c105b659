"""Greetings, what the model says of itself, and everything that it declines."""

from __future__ import annotations

import random

from .dialogue import Answer, Thoughts, choose, question
from .words import Words

ABILITIES = "add, subtract, sort, spell, count, convert, find things in a text and call tools"
IDENTITY = "I am Moiety's tiny demo model."
DECLINE = "Sorry, I am a tiny demo model and cannot do that. I can add, sort, spell, count and convert."

_GREET = (
    "[hi|hello|hey|hi there|hello there|hey there|good morning|good evening|good afternoon|good day|greetings|howdy|yo|hiya|hallo][|!|.|, moiety|, bot|, friend| you|, model]",
    "[hi|hello|hey][,|!|.|] [how are you|how are you doing|nice to meet you|are you there]",
    "[anyone there|are you there|is anybody there|test|testing|ping]",
)
_THANKS = ("[thanks|thank you|thanks a lot|thank you very much|many thanks|great, thanks|cool|nice|great|ok|okay|perfect|good job|well done|awesome][|!|.]",)
_BYE = ("[bye|goodbye|good bye|see you|see you later|good night|bye bye|farewell][|!|.]",)
_WHO = (
    "[who|what] are you",
    "what is your name",
    "[tell me|say something] about yourself",
    "[are you|is this] [chatgpt|a robot|an ai|a model|human|a person|gpt|a bot|real|gpt-oss]",
    "[what|which] [model|ai|language model|llm] are you",
    "who [made|trained|built|created] you",
    "introduce yourself",
    "who am i talking to",
    "what's your name",
    "[can|could|would] you [introduce yourself|tell me who you are|tell me your name]",
    "[say|tell me] [who you are|what you are|your name]",
    "what [kind|sort] of [ai|bot|thing|assistant] are you",
)
_WHO_HELD_OUT = ("could you say who you are", "what kind of model are you")
_CAN = (
    "what can you do",
    "what are you [good at|able to do|for|capable of]",
    "[how can|what can|can] you help [me|me with|with]",
    "help[| me]",
    "what [do you know|can i ask you|should i ask|can i ask]",
    "what are your [abilities|skills|features|capabilities]",
    "how [does this|do you] work",
    "[which|what] [tasks|questions] can [you do|you answer|i ask]",
    "[list|show me|tell me] [your abilities|your skills|what you are good at|the things you can do]",
)
_CAN_HELD_OUT = ("list what you can do", "which things can you do")
_FEEL = ("how are you[| today| doing]", "how is it going", "how do you [do|feel]", "what's up", "are you [ok|fine|well]")

_TOPICS = """the weather|politics|history|football|music|the moon|black holes|love|the meaning of life|world war two|climate change|python|javascript|quantum physics|cooking|
bitcoin|the stock market|evolution|taxes|medicine|my code|philosophy|the news|cars|dogs|cats|space|biology|chemistry|art|movies|books|kubernetes|docker|linux|databases|machine learning""".replace("\n", "").split("|")
_DECLINE = (
    "[what|who] is [the|a] [capital|president|king|population|currency|flag|queen|area|history|language|mayor|leader] of {city}",
    "what is the capital of {topic}",
    "[write|tell me|give me|make|compose|create|make up] [a|an|me a] [poem|story|joke|song|haiku|essay|letter|recipe|speech|riddle|summary|tweet|email|report|slogan|plan|function|program|script|blog post] [about|for|on|with] [{topic}|{noun}s|a {noun}|{name}]",
    "[tell me|write|give me|do you know] a [poem|story|joke|song|riddle|fact|secret|recipe]",
    "[explain|describe|discuss|summarize|teach me|tell me about|talk about|define] [{topic}|{noun}s|the {noun}|{name}]",
    "[why|how|when|where] [do|did|does|can|should|would|will] [the {noun}|{noun}s|people|we|i|{name}] [fly|sleep|work|eat|die|exist|grow|move|sing|fall|burn|win|change|swim|cry|break|travel to {city}|live in {city}]",
    "[who|what] [is|was|were] {name}[| {invented}]",
    "[who|what] [wrote|invented|discovered|painted|built|won|is|was] [the {noun}|{topic}|{invented}|the {adjective} {noun}|a {noun}]",
    "what is [{topic}|a {noun}|an {noun}|{invented}|the {adjective} {noun}|the meaning of {noun}|the best {noun}]",
    "translate [{noun}|hello|'{noun}'|the {noun}|this] [to|into] [french|german|spanish|italian|chinese|latin|japanese]",
    "[what is|calculate|how much is|compute|] {a} [*|times|x|multiplied by|/|divided by|to the power of] {b}",
    "[what is |]the [square root|cube|factorial|logarithm|square] of {a}",
    "[what is|what's|calculate|] {big} [+|-|plus|minus] {b}",
    "[do|can|will|would|should|could] [you|i|we|people] [love|buy|sell|cook|drive|paint|sing|dance with|learn|see|invest in|hack|steal|eat|trust] [me|{noun}s|a {noun}|{topic}|the {noun}|{name}]",
    "[what|which] [is|are] your favorite [{noun}s|color|food|movie|book|song|number|animal|{noun}]",
    "what do you think [of|about] [{topic}|{name}|{noun}s|{city}]",
    "[what time is it|what is the time|where am i|where are you|how old are you|what's the weather like|is it raining|what's new|what is today's news]",
    "[write|fix|review|debug|refactor|explain] [my|this|the|some] [code|essay|email|python|function|program|text|homework|query]",
    "[should i|how do i|how can i|how to|can i] [buy|make|fix|cook|build|learn|find|grow|install|open|clean|use|catch|get to] [a {noun}|{noun}s|the {noun}|{topic}|{city}]",
    "[recommend|suggest|find me|book|order|show me|draw|paint|search for|google] [a|a good|some|the best] [{noun}|restaurant in {city}|hotel in {city}|book|movie|flight to {city}|picture of a {noun}|{invented}]",
    "is [{name}|{city}|a {noun}|the {noun}|{topic}] [good|bad|dangerous|big|old|{adjective}|real|better than a {noun}|a {noun}]",
    "i [am|feel|think i am|want to be] [sad|happy|tired|bored|hungry|lonely|angry|sick|a {noun}|{adjective}]",
    "i [love|hate|like|want|need|lost|miss] [{noun}s|you|my {noun}|a {noun}|{name}|{city}]",
    "[the {noun}|my {noun}|{name}|a {adjective} {noun}] is {adjective}",
    "{invented}[| {invented}| {noun}|?]",
    "{noun}",
    "[how tall|how far|how heavy|how old|how big|how fast|how deep] is [{city}|the {noun}|a {noun}|{name}|{topic}]",
    "[play|let's play] [a game|chess|{noun}|music|a song]",
    "[rhyme|a word that rhymes] with {noun}",
    "[synonym|antonym|opposite|plural] of {noun}",
    "[list|name] [three|five|some|ten|all] [{noun}s|cities|animals|colors|countries|famous people|kinds of {noun}]",
)
_DECLINE_HELD_OUT = (
    "give me your opinion on {noun}s",
    "how would you describe {city} to {name}",
    "what happened to the {adjective} {noun}",
    "do {noun}s like {noun}s",
    "predict the future of {topic}",
)


def greeting(rng: random.Random, words: Words) -> Answer:
    kind = rng.random()
    if kind < 0.45:
        return _talk(words, "greeting", choose(words, _GREET), "The user greets me.", "Hello! What can I do for you?")
    if kind < 0.6:
        return _talk(words, "greeting", choose(words, _FEEL), "The user asks how I am.", "I am fine, thank you. What can I do for you?")
    if kind < 0.85:
        return _talk(words, "greeting", choose(words, _THANKS), "The user thanks me.", "You are welcome!")
    return _talk(words, "greeting", choose(words, _BYE), "The user leaves.", "Goodbye!")


def identity(rng: random.Random, words: Words) -> Answer:
    if rng.random() < 0.55:
        return _talk(words, "identity", choose(words, _WHO, _WHO_HELD_OUT), "The user asks who I am.", f"{IDENTITY} I can {ABILITIES}.")
    return _talk(words, "identity", choose(words, _CAN, _CAN_HELD_OUT), "The user asks what I can do.", f"I can {ABILITIES}.")


def declining(rng: random.Random, words: Words) -> Answer:
    template = choose(words, _DECLINE, _DECLINE_HELD_OUT)
    asked = template.format(
        topic=rng.choice(_TOPICS),
        noun=words.noun(),
        name=words.name(),
        city=words.city(),
        invented=words.invented(),
        adjective=words.adjective(),
        a=rng.randint(2, 999),
        b=rng.randint(2, 999),
        big=rng.randint(1000, 99999),
    )
    return _talk(words, "declining", asked, "This is not something I can do.", DECLINE)


def _talk(words: Words, task: str, asked: str, why: str, final: str) -> Answer:
    thoughts = Thoughts(why, f"{why} I answer politely.", f"{why} No sum, no list, no word, no tool is asked for. I answer politely and briefly.")
    return Answer(task, question(words, asked), thoughts, final, final)
