"""The parts that demo and crash test share: stand-ins for servers, and brokers as child processes.

Offers `server` and `broker`. Always holds: a stand-in answers as its server was recorded to answer. May import
`serving` and what is below it.
"""
