// Peers of the code speed: both npm generators with the alphabet and pattern of one of Kami's formats.
// argv: alphabet, pattern, count, rounds. Prints {package: codes a second of process CPU, the best round} as JSON.
// They draw with Math.random and keep a set of the codes drawn: a speed to compare with, not a model.

import { generate as referralCodes } from 'referral-codes'
import voucherCodes from 'voucher-code-generator'

const [charset, pattern, count, rounds] = process.argv.slice(2)
const config = { charset, pattern, count: Number(count) }

function best(generate) {
  let fewest = Infinity
  for (let round = 0; round < Number(rounds); round++) {
    const start = process.cpuUsage()
    const codes = generate(config)
    const { user, system } = process.cpuUsage(start)
    if (codes.length !== config.count || codes[0].length !== pattern.length) throw new Error('not what was asked for')
    fewest = Math.min(fewest, user + system)
  }
  return config.count / (fewest / 1e6)
}

console.log(JSON.stringify({
  'voucher-code-generator': best(voucherCodes.generate),
  'referral-codes': best(referralCodes),
}))
