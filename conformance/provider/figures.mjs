/** What the model did, which ends a run: the SDK throws most of it as errors of its own; a model that goes on for ever fills its context. */
const OF_MODEL =
  /^(Max turns|Model did not produce a final response|Tool .* not found|Invalid JSON|Unexpected end of JSON|.* in JSON at position|.* is not valid JSON|400 \w+: the prompt has \d+ tokens)/;

/**
 * What the test's results come to. The test itself leaves cases that ended in an error out of its figures; here they count.
 *
 * @param {readonly object[]} records lines of its results
 * @param {{ expected: number, streaming: boolean }} options
 */
export function figuresOf(records, { expected, streaming }) {
  const ended = records.filter((record) => record.result !== undefined);
  const errors = records.filter((record) => record.result === undefined).map(({ error, tool_name }) => `${tool_name}: ${error}`);
  const matches = (pattern) => (text) => pattern.test(text.slice(text.indexOf(": ") + 2));
  const isOfModel = matches(OF_MODEL);
  const called = (name) => ended.filter(({ result }) => result.toolCallingDetails[name] === true).length;
  return {
    expected,
    missing: expected - records.length,
    answered: ended.length,
    invalidShapes: ended.filter(({ result }) => !isValid(result, streaming)).length,
    called: called("calledToolAtLeastOnce"),
    rightSchema: called("calledToolWithRightSchema"),
    rightArguments: called("calledToolWithRightArguments"),
    ofModel: errors.filter(isOfModel),
    faults: errors.filter((text) => !isOfModel(text)),
  };
}

function isValid(result, streaming) {
  return result.validResponse && (!streaming || result.validEvents);
}

export function printFigures(all) {
  const percent = (part, whole) => (whole === 0 ? "-" : `${((100 * part) / whole).toFixed(0)}%`);
  for (const { name, figures } of all) {
    const { expected, answered, invalidShapes, called, rightSchema, rightArguments, ofModel, faults, missing } = figures;
    console.log(`\n${name}`);
    console.log(`  runs                                   ${expected}`);
    console.log(`  invalid shapes                         ${invalidShapes} of ${answered} that came to an end`);
    console.log(`  requests that failed                   ${faults.length + missing}`);
    console.log(`  ended early for the model's sake       ${ofModel.length}`);
    console.log(`  called the function                    ${called} of ${expected} (${percent(called, expected)})`);
    console.log(`  with arguments of the right schema     ${rightSchema} of ${expected} (${percent(rightSchema, expected)})`);
    console.log(
      `  with the arguments that were expected  ${rightArguments} of ${expected} (${percent(rightArguments, expected)})`,
    );
    for (const text of new Set([...faults, ...ofModel])) console.log(`    ${text.slice(0, 160)}`);
  }
}
