//! llguidance for Node: a vocabulary, grammars compiled against it, and the state of one generation under a grammar.
//!
//! Whatever may take longer than some microseconds runs on libuv's threads. Text of a completion never becomes part of an error.
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use llguidance::api::TopLevelGrammar;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use napi::bindgen_prelude::*;
use napi_derive::napi;

/// Grammars are compiled on all of libuv's threads and forgotten on another: glibc's allocator keeps what was freed in an arena for each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn fault(error: impl std::fmt::Display) -> Error {
    Error::new(Status::InvalidArg, error.to_string())
}

/// Name and version of the engine: those of one name admit the same tokens.
#[napi]
pub fn engine() -> String {
    concat!("llguidance/", env!("LLGUIDANCE_VERSION")).to_string()
}

/// Counted, never timed: what compiles here compiles everywhere.
#[napi(object)]
pub struct GrammarLimits {
    /// Symbols in productions.
    pub max_grammar_size: u32,
    /// Regex nodes that compiling may build; 50,000 take about a millisecond.
    pub initial_lexer_fuel: u32,
    /// Regex nodes that one mask may build.
    pub step_lexer_fuel: u32,
    /// Parser items that one mask may make.
    pub step_max_items: u32,
    /// Each takes one to two kilobytes.
    pub max_lexer_states: u32,
}

/// The tokens of a model, as a trie.
#[napi]
pub struct Vocabulary {
    factory: Arc<ParserFactory>,
}

#[napi]
impl Vocabulary {
    /// Token i is `bytes[ends[i - 1] .. ends[i]]`; special tokens begin with 0xff, padding is empty. `eos` 0xffffffff: none.
    #[napi(constructor)]
    pub fn new(bytes: Buffer, ends: Uint32Array, eos: u32, limits: GrammarLimits) -> Result<Self> {
        let mut words: Vec<Vec<u8>> = Vec::with_capacity(ends.len());
        let mut start = 0usize;
        for &end in ends.iter() {
            let word = bytes.get(start..end as usize).ok_or_else(|| fault("ends do not ascend within bytes"))?;
            words.push(word.to_vec());
            start = end as usize;
        }
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, eos), &words);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let abilities = InferenceCapabilities { ff_tokens: false, conditional_ff_tokens: false, backtrack: false, fork: false };
        let mut factory = ParserFactory::new(&env, abilities, &SlicedBiasComputer::general_slices()).map_err(fault)?;
        factory.quiet();
        let own = factory.limits_mut();
        own.max_grammar_size = limits.max_grammar_size as usize;
        own.initial_lexer_fuel = limits.initial_lexer_fuel as u64;
        own.step_lexer_fuel = limits.step_lexer_fuel as u64;
        own.step_max_items = limits.step_max_items as usize;
        own.max_lexer_states = limits.max_lexer_states as usize;
        own.verbose_errors = false;
        Ok(Self { factory: Arc::new(factory) })
    }

    /// `grammars`: llguidance's JSON form, `{"grammars":[{"lark_grammar":..},{"name":..,"json_schema":..}]}`.
    #[napi(ts_return_type = "Promise<GrammarMatcher>")]
    pub fn compile(&self, grammars: String) -> AsyncTask<Compile> {
        AsyncTask::new(Compile { factory: self.factory.clone(), grammars })
    }
}

pub struct Compile {
    factory: Arc<ParserFactory>,
    grammars: String,
}

#[napi]
impl Task for Compile {
    type Output = Matcher;
    type JsValue = GrammarMatcher;

    fn compute(&mut self) -> Result<Matcher> {
        let grammar: TopLevelGrammar = serde_json::from_str(&self.grammars).map_err(fault)?;
        let parser = catch_unwind(AssertUnwindSafe(|| self.factory.create_parser(grammar)));
        let matcher = Matcher::new(parser.map_err(|_| fault("the compiler failed"))?);
        match matcher.get_error() {
            Some(error) => Err(fault(error)),
            None => Ok(matcher),
        }
    }

    fn resolve(&mut self, _env: Env, matcher: Matcher) -> Result<GrammarMatcher> {
        Ok(GrammarMatcher { matcher: Arc::new(Mutex::new(matcher)) })
    }
}

/// Where one generation stands in its grammar. One call at a time.
#[napi]
pub struct GrammarMatcher {
    matcher: Arc<Mutex<Matcher>>,
}

#[napi]
impl GrammarMatcher {
    /// Consumes tokens, then computes which may be next: bit i of word floor(i/32). Empty: the grammar is complete.
    #[napi(ts_return_type = "Promise<Uint32Array>")]
    pub fn advance(&self, tokens: Uint32Array) -> AsyncTask<Advance> {
        AsyncTask::new(Advance { matcher: self.matcher.clone(), tokens: tokens.to_vec() })
    }

    /// A state of its own that stands where this one does.
    #[napi]
    pub fn fork(&self) -> Result<GrammarMatcher> {
        let matcher = self.matcher.lock().map_err(fault)?.deep_clone();
        Ok(GrammarMatcher { matcher: Arc::new(Mutex::new(matcher)) })
    }
}

pub struct Advance {
    matcher: Arc<Mutex<Matcher>>,
    tokens: Vec<u32>,
}

#[napi]
impl Task for Advance {
    type Output = Vec<u32>;
    type JsValue = Uint32Array;

    fn compute(&mut self) -> Result<Vec<u32>> {
        let mut matcher = self.matcher.lock().map_err(fault)?;
        matcher.consume_tokens(&self.tokens).map_err(fault)?;
        if matcher.is_stopped() {
            return match matcher.stop_reason().is_ok() {
                true => Ok(Vec::new()),
                false => Err(fault(matcher.get_error().unwrap_or_default())),
            };
        }
        let mask = matcher.compute_mask().map_err(fault)?;
        let mut words = mask.as_slice().to_vec();
        words.truncate(mask.len().div_ceil(32));
        Ok(words)
    }

    fn resolve(&mut self, _env: Env, words: Vec<u32>) -> Result<Uint32Array> {
        Ok(Uint32Array::new(words))
    }
}
