def log = new File(basedir, 'build.log').text
def jdb = new File(basedir, 'jdb.log').text
assert log.contains('127.0.0.1:15005 is port 5005 of debugged until this session ends')
assert jdb.contains('Breakpoint hit') && jdb.contains('One.main(), line=4')
assert jdb.contains('word = "seen from outside"')
assert log.contains('TESTED 17')
// Nobody listens any more.
try {
    new Socket('127.0.0.1', 15005).close()
    assert false
} catch (ConnectException expected) {
    return true
}
