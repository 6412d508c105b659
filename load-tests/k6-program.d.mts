/** Why no load test can run here; undefined when one can. */
export function whyNoK6(): string | undefined;
/** The path of a k6 that load tests run on, built if there is none. @throws StepError that says what is missing. */
export function preparedK6(): Promise<string>;
