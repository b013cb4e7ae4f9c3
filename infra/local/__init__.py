"""The local cloud: Kami on one machine, built from the synthesized template.

template    the template, synthesized once per change and resolved     resources   what is made from it; what is known
policy      IAM: a function's role, enforced and recorded              material    keys and secrets that last
moto_fixes  what moto lacks to be trusted                              engines     DynamoDB Local, the referee
runtime     one instance of a function                                 pool        all instances
gateway     API Gateway, without a socket                              server      the socket
pumps       event sources: queues                                      streams     event sources: the table's stream
bus         what rules do with events                                  patterns    what they and filters match
carriers    SMS carriers, phones, and their faults                     cloud       all of it together; for tests
up          `make up`                                                  invoke      `make invoke`
"""
