"""Words that prompts are filled with. Those of the test split are in no training conversation."""

from __future__ import annotations

import random
from typing import Literal

Split = Literal["train", "test"]

_NOUNS = """apple arrow badge basket beach bell bird blanket board boat bottle branch bread brick bridge brush bucket button cabin camel candle
canvas carpet castle chain chair cherry circle clock cloud coat coin copper corner cotton cradle crown curtain desk dinner door dragon drum
engine falcon feather fence field finger flag flower forest fork fountain frame garden gate ghost giraffe glass glove grape guitar hammer
harbor hat hill honey horse hotel island jacket jewel jungle kettle kitchen kitten knife ladder lake lamp lantern lemon letter lion lizard
magnet mango market meadow melon mirror monkey mountain mouse muffin needle nest notebook ocean olive onion orange oven paddle palace panda
paper parcel parrot pencil pepper piano pillow pirate planet pocket potato puzzle rabbit raven ribbon river rocket rope sailor salad
sandal school shadow sheep shelf shell shirt silver sister spider spoon square stable station statue stone storm summer table tent
thunder tiger tomato tower train trumpet tunnel turtle umbrella valley village violin wagon wallet walnut water whale wheel window winter yogurt zebra"""
_TEST_NOUNS = """acorn anchor balloon banana barrel beetle biscuit cactus carrot coffee compass cricket dolphin eagle elephant emerald
fossil goblet hazelnut igloo jigsaw kangaroo lobster marble mustard nectar orchid ostrich peanut pelican pumpkin quartz raisin saddle
scooter sparrow strawberry sunflower tangerine teapot trolley tulip turnip vanilla velvet vulture waffle walrus whistle zipper"""
_NAMES = """Ada Alan Alice Amir Anna Bella Ben Boris Carla Carlos Chen Clara Daniel Dana David Diego Elena Eric Eva Fatima Felix Finn Freya
George Gina Hana Hassan Helen Hugo Ines Isaac Ivan Jack Jane Jonas Julia Kai Karim Kate Kenji Lara Leo Linda Lucas Maria Mark Marta Max Mei
Mia Milo Nadia Nina Noah Nora Olga Omar Oscar Paul Pedro Peter Priya Quinn Rafael Rita Rosa Ruth Samuel Sara Simon Sofia Stella Tariq Theo
Tina Tom Uma Vera Viktor Wanda Will Xenia Yara Yusuf Zoe"""
_TEST_NAMES = "Agnes Bruno Celia Dmitri Edith Farah Gustav Hilda Igor Jasmin Klaus Lydia Marco Naomi Otto Petra Ravi Selma Tobias Ursula Vikram Wendy"
_CITIES = """Amsterdam Ankara Athens Bangkok Barcelona Beijing Berlin Bern Bogota Boston Brussels Cairo Chicago Copenhagen Dakar Delhi Denver
Dublin Geneva Hamburg Hanoi Havana Helsinki Houston Jakarta Kyiv Lagos Lima Lisbon London Madrid Manila Miami Milan Moscow Mumbai Munich
Nairobi Naples Osaka Oslo Ottawa Paris Porto Prague Quito Riga Rome Santiago Seoul Seville Shanghai Sofia Stockholm Sydney Tallinn Tokyo
Toronto Tunis Turin Vienna Vilnius Warsaw Zagreb Zurich"""
_TEST_CITIES = "Accra Adelaide Antwerp Austin Bilbao Bratislava Calgary Dallas Dresden Florence Glasgow Kyoto Leipzig Lyon Malaga Nagoya Perth Rotterdam Salzburg Tampere"
_COMPANIES = "Acme Nordwind Bluefin Solaris Vertex Quanta Helix Ironwood Larkspur Meridian Northgate Orbital Pinecone Redstone Starling Tidewater"
_TEST_COMPANIES = "Umbra Windmere Zephyr Kestrel Foxglove"
_ADJECTIVES = """red blue green big small old new happy quiet fast slow bright dark warm cold soft loud sweet round tall young clever brave
wild gentle heavy light narrow wide deep"""
_TEST_ADJECTIVES = "purple yellow shiny rusty dusty fluffy crisp frozen hollow lazy"

_ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl l m n p pl pr qu r s sc sh sk sl sm sn sp st str t th tr v w x y z".split() + [""] * 3
_NUCLEI = "a e i o u a e i o u ai ea ee ia io oa oo ou y".split()
_CODAS = "b c ck d f g k l ll m n nd ng nt p r rd rk rt s ss st t x z".split() + [""] * 12


class Words:
    """Draws words of one split. `vocabulary`: words that are tokens, whose letters have to be learned by heart."""

    def __init__(self, rng: random.Random, split: Split, vocabulary: tuple[str, ...] = ()) -> None:
        self.rng = rng
        self.split = split
        self.vocabulary = vocabulary
        test = split == "test"
        self.nouns = (_TEST_NOUNS if test else _NOUNS).split()
        self.names = (_TEST_NAMES if test else _NAMES).split()
        self.cities = (_TEST_CITIES if test else _CITIES).split()
        self.companies = (_TEST_COMPANIES if test else _COMPANIES).split()
        self.adjectives = (_TEST_ADJECTIVES if test else _ADJECTIVES).split()

    def noun(self) -> str:
        return self.rng.choice(self.nouns)

    def name(self) -> str:
        return self.rng.choice(self.names) if self.rng.random() < 0.7 else self.invented().capitalize()

    def city(self) -> str:
        return self.rng.choice(self.cities) if self.rng.random() < 0.7 else self.invented().capitalize()

    def company(self) -> str:
        return self.rng.choice(self.companies) if self.rng.random() < 0.5 else self.invented().capitalize()

    def adjective(self) -> str:
        return self.rng.choice(self.adjectives)

    def invented(self, syllables: int | None = None) -> str:
        """A word that could be English and, as a rule, is none: what is learned from it is not learned by heart."""
        count = syllables or self.rng.choice((1, 2, 2, 2, 3))
        choose = self.rng.choice
        word = "".join(choose(_ONSETS) + choose(_NUCLEI) + choose(_CODAS) for _ in range(count))
        return word if 3 <= len(word) <= 11 else self.invented(syllables)

    def known(self) -> str:
        return self.rng.choice(self.vocabulary) if self.vocabulary else self.noun()

    def word(self) -> str:
        return self.noun() if self.rng.random() < (0.8 if self.split == "test" else 0.4) else self.invented()

    def phrase(self, longest: int = 4) -> str:
        return " ".join(
            self.adjective() if self.rng.random() < 0.25 else self.word() for _ in range(self.rng.randint(1, longest))
        )


def content_words() -> set[str]:
    """Every word above, in lower case: these are told apart by their letters, so they are no tokens of their own."""
    lists = (_NOUNS, _TEST_NOUNS, _NAMES, _TEST_NAMES, _CITIES, _TEST_CITIES, _COMPANIES, _TEST_COMPANIES, _ADJECTIVES, _TEST_ADJECTIVES)
    return {word.lower() for words in lists for word in words.split()}
