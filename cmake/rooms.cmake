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

# ds_links(ROOM LIB...): third-party libraries belong to one room each.
function(ds_links room)
  if(TARGET ds_${room})
    target_link_libraries(ds_${room} PRIVATE ${ARGN})
  endif()
endfunction()
