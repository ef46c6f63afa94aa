"""What the field's words mean here, and ways to open a meaning where its word stands.

`term("local curvature")` goes into the text of `prose`, `about("local curvature")` into any `help=`, and a page names
all of its terms once, in `page_title`. Meanings are constants of this file: nothing a person typed becomes HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st

from snapvit.private_names import MARKDOWN
from snapvit.ui.flow import flowing_columns


@dataclass(frozen=True)
class Term:
    """One or two plain sentences, and where in the explorer it is to be seen."""

    meaning: str
    where: str


TERMS: dict[str, Term] = {
    "weight correction": Term(
        "After a cut, the layers that read its neurons and heads are solved again on those that stay, to give "
        "the full layer's output back as well as possible: least squares in closed form, without labels or training.",
        "The switch in the sidebar",
    ),
    "patch": Term(
        "A small square of the image. A ViT cuts the image into patches and works on one vector for each.",
        "The inputs of every run",
    ),
    "token": Term(
        "One of the vectors that a ViT passes from block to block: one for each patch, and a few more such as the "
        "class token.",
        "The inputs of every run",
    ),
    "class token": Term(
        "An extra token that belongs to no patch and gathers what the whole image shows. The embedding is read from it "
        "where the model has one.",
        "CKA, Heads",
    ),
    "block": Term(
        "One layer of a ViT: attention, then an MLP, each added to what came in. Block 1 is nearest the image.",
        "Every page",
    ),
    "head": Term(
        "One of the parallel parts of a block's attention. Each decides for itself which tokens look at which, and can "
        "be removed alone.",
        "Heads",
    ),
    "attention": Term(
        "The part of a block in which tokens exchange information: each token takes a weighted mean of the others' "
        "values, once in every head.",
        "Heads",
    ),
    "MLP": Term(
        "The part of a block that works on each token alone: a wide hidden layer of neurons between two linear maps.",
        "Every page",
    ),
    "neuron": Term(
        "One unit of the hidden layer of a block's MLP: a row of its first weight matrix and a column of its second.",
        "Sparsity, Heads",
    ),
    "structure": Term(
        "What one search factor belongs to: a head, or the whole MLP of a block. A model of L blocks with H heads has "
        "L + L·H structures.",
        "Heads, CKA, Correlation",
    ),
    "interaction": Term(
        "How much more two structures cost when both are taken out than the two cost one by one. Above 0 each stands "
        "in for the other; at 0 they do not meet.",
        "Correlation",
    ),
    "displacement": Term(
        "The way in which an image's embedding moves when a structure is taken out. Where two structures move it "
        "alike, their interaction is large: an estimate from one forward pass a structure.",
        "Correlation",
    ),
    "Gauss-Newton": Term(
        "How the embedding begins to move as a mask on a structure or neuron leaves 1, found by backward passes from "
        "random directions. Two structures' products estimate their interaction.",
        "Correlation",
    ),
    "Mantel test": Term(
        "Whether two maps between structures agree by more than chance: how often a relabelling of the structures "
        "agrees at least as well. Pairs share structures, so they cannot be shuffled one by one.",
        "Correlation",
    ),
    "embedding": Term(
        "The vector that the model makes of an image, before any classification. Images that look alike to the model "
        "have embeddings that point the same way.",
        "Sparsity, Embedding",
    ),
    "cosine": Term(
        "The cosine of the angle between two vectors: 1 where they point the same way, 0 where they are unrelated.",
        "Sparsity, Method",
    ),
    "softmax": Term(
        "Turns any vector into positive shares that sum to 1: exponentials, divided by their sum.",
        "Method",
    ),
    "view": Term(
        "A random crop of an image, resized to the model's input. Global views show most of the image, local ones a "
        "small part.",
        "Method",
    ),
    "self-supervised loss": Term(
        "A number that says how differently the model sees several views of one image. It needs no labels.",
        "Method",
    ),
    "teacher": Term(
        "The model's own answer to a global view, taken as fixed. The other views are compared with it; it is the same "
        "frozen model.",
        "Method",
    ),
    "gradient": Term(
        "How the loss changes with each weight, to first order. Large where a small change of it would be felt.",
        "Method",
    ),
    "local curvature": Term(
        "The mean squared gradient of the loss over a structure's own weights: how strongly a small change of it alone "
        "would be felt. It is the diagonal of the empirical Fisher information.",
        "Heads, Method",
    ),
    "Fisher information": Term(
        "The average of squared gradients over images. Near a minimum it approximates the Hessian, the matrix of "
        "second derivatives; here only its diagonal is used.",
        "Method",
    ),
    "Hessian": Term(
        "The matrix of the loss's second derivatives. What lies off its diagonal says how two structures matter "
        "together, which curvature alone cannot know.",
        "Correlation, Method",
    ),
    "CKA": Term(
        "Centred kernel alignment: how alike two sets of activations are over the same images, whatever their "
        "rotation or scale. 1 is the same up to these, 0 is unrelated.",
        "CKA, Method",
    ),
    "calibration image": Term(
        "An image that the method looks at to rank structures. Its label is not used, and it is never a query.",
        "Method",
    ),
    "factor": Term(
        "The number that the search finds for each structure. It multiplies the structure's local curvature: above 1 "
        "it stays longer, below 1 it goes earlier.",
        "Heads, Method",
    ),
    "xNES": Term(
        "Exponential natural evolution strategy: draws guesses from a normal distribution, ranks them, and moves the "
        "distribution's mean and covariance towards the better ones.",
        "Run, Method, Correlation",
    ),
    "individual": Term(
        "One guess of the search: a factor for every structure. It is judged by cutting the model with it.",
        "Run, Method",
    ),
    "generation": Term(
        "One round of the search: a population of individuals is drawn and judged, then the distribution moves.",
        "Run, Method, Correlation",
    ),
    "fitness": Term(
        "How far cut models' embeddings move from the full model's: 1 minus the cosine, averaged over images and over "
        "a few sparsities. Lower is better.",
        "Run, Method",
    ),
    "covariance": Term(
        "Says how the search's factors vary together. Its off-diagonal part is the method's estimate of how structures "
        "depend on one another.",
        "Correlation, Method",
    ),
    "PCA projection": Term(
        "The directions in which the full model's embeddings vary most. Fitness compares embeddings along these.",
        "Method",
    ),
    "final score": Term(
        "What a ranking orders, lowest first. In SnapViT local curvature times search factor; without a search the "
        "number that the method gives each head and neuron.",
        "Heads, Method",
    ),
    "ranking": Term(
        "All neurons in one order and all heads in another, over all blocks, by final score. It is made once; every "
        "cut is read off it.",
        "Heads, Sparsity, Method",
    ),
    "sparsity": Term(
        "The share of MLP neurons that is removed. On the slider's path the share of heads removed lags 15 percentage "
        "points behind.",
        "Every page",
    ),
    "cut": Term(
        "The model that is left at a sparsity: the first structures of the ranking are gone, all weights that stay "
        "are unchanged.",
        "Sparsity, Heads",
    ),
    "floor": Term(
        "The share of its best neurons and heads that every block keeps at any sparsity, so that none runs empty.",
        "Run, Method",
    ),
    "k-NN": Term(
        "k nearest neighbours: a query gets the class that most of the k most similar gallery images have. It measures "
        "embeddings without training anything.",
        "Run, Sparsity, Embedding",
    ),
    "top-1": Term(
        "The share of query images whose class k-NN names right.",
        "Run, Sparsity",
    ),
    "gallery": Term(
        "Labelled images that queries are compared with in k-NN.",
        "Run, Sparsity, Embedding",
    ),
    "query": Term(
        "An image whose class k-NN has to name. The method has never seen it.",
        "Run, Sparsity, Embedding",
    ),
    "Wilson interval": Term(
        "A 95 % interval for a share counted from a finite number of queries: the true share lies in such an interval "
        "19 times in 20.",
        "Run, Sparsity",
    ),
    "parameters": Term(
        "How many numbers the model's weights and biases are; what it takes in memory.",
        "Run, Sparsity",
    ),
    "MACs": Term(
        "Multiply-accumulates: how many multiplications followed by an addition one image needs. A count, the same on "
        "every computer.",
        "Run, Sparsity",
    ),
    "latency": Term(
        "The time that one image takes on one thread, measured in turns with the full model. Unlike MACs it depends on "
        "the computer, so times of another one are called so.",
        "Run, Sparsity",
    ),
    "UMAP": Term(
        "A drawing of many-dimensional points on a plane that keeps near ones near. Distances between far groups mean "
        "little in it.",
        "Embedding",
    ),
}


def about(name: str) -> str:
    """The meaning alone, for a `help=`."""
    return TERMS[name].meaning


def term(name: str, shown: str | None = None) -> str:
    """`name`, written as `shown`, as part of `prose`: pointing at it, or reaching it by the Tab key, explains it."""
    return (
        f'<span class="term" tabindex="0">{escape(shown or name)}'
        f'<span class="term-meaning" role="tooltip">{escape(TERMS[name].meaning)}</span></span>'
    )


def prose(text: str) -> None:
    """Markdown with `term`s in it. For sentences of our own: names of files or classes must be escaped."""
    st.markdown(text, unsafe_allow_html=True)


def page_title(title: str, terms: Sequence[str] = ()) -> None:
    """The page's title, and beside it the meanings of the words that the page uses."""
    st.html(f"<style>{STYLE}</style>")
    # Beside the title, not at the far end of the line: there Streamlit shows that it is at work.
    with st.container(horizontal=True, vertical_alignment="center", key="title"):
        st.title(title, width="content")
        if terms:
            with st.popover("Terms", icon=":material/menu_book:", width="content", help="What the words here mean"):
                st.markdown("\n\n".join(f"**{name}**: {about(name)}" for name in sorted(terms, key=str.casefold)))


def whole_glossary() -> None:
    """Every term in alphabetical order, with where it is to be seen."""
    names = sorted(TERMS, key=str.casefold)
    half = (len(names) + 1) // 2
    for column, part in zip(flowing_columns(2, 380, key="glossary"), (names[:half], names[half:]), strict=True):
        entries = (f"**{name}**: {about(name)} :small[:gray[{TERMS[name].where}.]]" for name in part)
        column.markdown("\n\n".join(entries))


# The meaning stands under its word's line, as wide as its paragraph at most, so that no edge cuts it off.
STYLE = (
    f"{MARKDOWN} :is(p, li):has(.term) {{ position: relative; }}"
    + """
.term { border-bottom: 1px dotted currentColor; cursor: help; border-radius: 2px; }
.term:focus-visible { outline: 2px solid var(--st-primary-color, #2E86C9); outline-offset: 2px; }
.term-meaning {
  visibility: hidden; position: absolute; left: 0; margin-top: 1.7em; z-index: 10; max-width: min(100%, 34rem);
  padding: 0.5rem 0.75rem; border-radius: 0.5rem; font-size: 0.9rem; font-weight: 400; line-height: 1.45;
  text-align: left; background: #262730; color: #FAFAFA; border: 1px solid #5b5d68;
  box-shadow: 0 4px 16px rgba(0, 0, 0, 0.25); pointer-events: none;
}
.term:hover > .term-meaning, .term:focus > .term-meaning { visibility: visible; }
"""
)
