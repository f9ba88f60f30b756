# ds_room(NAME DEP...): the static library ds_NAME of lib/NAME/**.cpp, linked with its rooms.
# A room without sources yet is only a line of the graph.
function(ds_room name)
  set_property(GLOBAL APPEND PROPERTY DS_ROOMS ${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/${name}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_library(ds_${name} STATIC ${sources})
  target_include_directories(ds_${name} PUBLIC ${PROJECT_SOURCE_DIR}/lib)
  foreach(dep IN LISTS ARGN)
    if(TARGET ds_${dep})
      target_link_libraries(ds_${name} PUBLIC ds_${dep})
    endif()
  endforeach()
endfunction()

# ds_embed(ROOM FILE): the bytes of lib/ROOM/FILE are compiled in: the header ROOM/NAME.h has them as NAME_bytes, where NAME is
# that of the file without its extension.
function(ds_embed room file)
  get_filename_component(name ${file} NAME_WE)
  set(source ${PROJECT_SOURCE_DIR}/lib/${room}/${file})
  set(header ${PROJECT_BINARY_DIR}/embedded/${room}/${name}.h)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  if(NOT EXISTS ${header} OR ${source} IS_NEWER_THAN ${header})
    file(READ ${source} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    file(WRITE ${header} "inline constexpr unsigned char ${name}_bytes[] = {${bytes}};\n")
  endif()
  target_include_directories(ds_${room} PRIVATE ${PROJECT_BINARY_DIR}/embedded)
endfunction()

# ds_links(ROOM LIB...): third-party libraries belong to one room each.
function(ds_links room)
  if(TARGET ds_${room})
    target_link_libraries(ds_${room} PRIVATE ${ARGN})
  endif()
endfunction()
