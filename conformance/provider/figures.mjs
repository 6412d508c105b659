/** What the model did, which the SDK that the test is written with throws as an error of its own. */
const OF_MODEL =
  /^(Max turns|Model did not produce a final response|Tool .* not found|Invalid JSON|Unexpected end of JSON|.* in JSON at position|.* is not valid JSON)/;

/**
 * Of streams of responses the test reads the last as it would one that was not streamed, which the SDK does not hand over: it finds nothing there,
 * whoever serves.
 */
const OF_TEST = /^Cannot read properties of undefined \(reading 'output'\)$/;

/**
 * What the test's results come to. The test itself leaves cases that ended in an error out of its figures; here they count.
 *
 * @param {readonly object[]} records lines of its results
 * @param {{ expected: number, streaming: boolean, api: string }} options
 */
export function figuresOf(records, { expected, streaming, api }) {
  const ended = records.filter((record) => record.result !== undefined);
  const errors = records.filter((record) => record.result === undefined).map(({ error, tool_name }) => `${tool_name}: ${error}`);
  const matches = (pattern) => (text) => pattern.test(text.slice(text.indexOf(": ") + 2));
  const isOfModel = matches(OF_MODEL);
  const isOfTest = streaming && api === "responses" ? matches(OF_TEST) : () => false;
  const called = (name) => ended.filter(({ result }) => result.toolCallingDetails[name] === true).length;
  return {
    expected,
    missing: expected - records.length,
    answered: ended.length,
    invalidShapes: ended.filter(({ result }) => !isValid(result, streaming && api === "chat")).length,
    called: called("calledToolAtLeastOnce"),
    rightSchema: called("calledToolWithRightSchema"),
    rightArguments: called("calledToolWithRightArguments"),
    ofModel: errors.filter(isOfModel),
    ofTest: errors.filter(isOfTest).length,
    faults: errors.filter((text) => !isOfModel(text) && !isOfTest(text)),
  };
}

/**
 * Of streams of responses the test looks for events in a wrapping that it has just taken off, so that it finds none, whoever serves; the
 * response in their last event is checked as any.
 */
function isValid(result, checksEvents) {
  return result.validResponse && (!checksEvents || result.validEvents);
}

export function printFigures(all) {
  const percent = (part, whole) => (whole === 0 ? "-" : `${((100 * part) / whole).toFixed(0)}%`);
  for (const { name, figures } of all) {
    const { expected, answered, invalidShapes, called, rightSchema, rightArguments, ofModel, ofTest, faults, missing } = figures;
    console.log(`\n${name}`);
    console.log(`  runs                                   ${expected}`);
    console.log(`  invalid shapes                         ${invalidShapes} of ${answered} that came to an end`);
    console.log(`  requests that failed                   ${faults.length + missing}`);
    if (ofTest > 0) console.log(`  answered, and unread by a fault of the test ${ofTest}`);
    console.log(`  ended by the SDK for the model's sake  ${ofModel.length}`);
    console.log(`  called the function                    ${called} of ${expected} (${percent(called, expected)})`);
    console.log(`  with arguments of the right schema     ${rightSchema} of ${expected} (${percent(rightSchema, expected)})`);
    console.log(
      `  with the arguments that were expected  ${rightArguments} of ${expected} (${percent(rightArguments, expected)})`,
    );
    for (const text of new Set([...faults, ...ofModel])) console.log(`    ${text.slice(0, 160)}`);
  }
}
