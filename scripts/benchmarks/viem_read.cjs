// The read of a cycle through viem's multicall: takes {url, multicall, repetitions, calls} on standard input and prints the
// seconds of each repetition as JSON. Required through contracts/package.json, where viem is installed.
const { createRequire } = require("node:module");
const { join } = require("node:path");
const required = createRequire(join(__dirname, "../../contracts/package.json"));
const { createPublicClient, http } = required("viem");

async function main() {
    const { url, multicall, repetitions, calls } = JSON.parse(require("node:fs").readFileSync(0, "utf8"), (key, value) =>
        typeof value === "string" && value.startsWith("int:") ? BigInt(value.slice(4)) : value,
    );
    const client = createPublicClient({ transport: http(url, { retryCount: 0 }) });
    const seconds = [];
    for (let repetition = 0; repetition <= repetitions; repetition++) {
        const start = process.hrtime.bigint();
        // One request for all of it, as the keeper's is: viem would split it into chunks of 1,024 bytes by itself.
        const answers = await client.multicall({ contracts: calls, multicallAddress: multicall, batchSize: 0 });
        seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
        const failed = answers.findIndex((answer) => answer.status !== "success");
        if (failed >= 0) throw new Error(`call ${failed} failed: ${answers[failed].error.shortMessage}`);
    }
    // The first one opens the connection and compiles.
    console.log(JSON.stringify(seconds.slice(1)));
}

main().catch((error) => {
    console.error(String(error.message ?? error));
    process.exit(1);
});
